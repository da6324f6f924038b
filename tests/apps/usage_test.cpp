// The command line itself: help, versions, unknown words, options from everywhere, and broken streams.
#include <doctest/doctest.h>

#include <fstream>
#include <sstream>

#include "tests/apps/scene.h"
#include "tests/test_data.h"

using namespace branchsae::test;

namespace {

const std::vector<std::string> kCommands = {"inspect", "classify", "capture",  "train",
                                            "encode",  "eval",     "branches", "demo"};

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("--version names commit, compiler, CUDA and CPU") {
  const ProcessResult result = run_program({"--version"});
  CHECK(result.code == 0);
  CHECK(result.out.starts_with("branchsae "));
  for (const char* part : {"(commit ", "\ncompiler: ", "\nCUDA: ", "\nCPU: "})
    CHECK(contains(result.out, part));
  CHECK(result.err.empty());
}

TEST_CASE("--help lists every command, and each explains itself with examples") {
  const ProcessResult all = run_program({"--help"});
  CHECK(all.code == 0);
  for (const std::string& command : kCommands) {
    CAPTURE(command);
    CHECK(contains(all.out, "\n  " + command + " "));
    const ProcessResult one = run_program({command, "--help"});
    CHECK(one.code == 0);
    CHECK(one.err.empty());
    for (const char* part : {"Usage:", "Examples:", "--device", "--threads", "--seed", "--json", "--config",
                             "--max-memory", "--no-progress", "--sync-debug", "--verbose", "--quiet"}) {
      CAPTURE(part);
      CHECK(contains(one.out, part));
    }
    CHECK(run_program({"help", command}).out == one.out);
    CHECK(run_program({command, "-h"}).out == one.out);
  }
}

TEST_CASE("examples in the help parse: every option in them exists and takes its value") {
  for (const std::string& command : kCommands) {
    std::istringstream help(run_program({command, "--help"}).out);
    bool examples = false;
    int found = 0;
    for (std::string line; std::getline(help, line);) {
      examples = examples || line == "Examples:";
      if (!examples || !line.starts_with("  branchsae ")) continue;
      ++found;
      std::istringstream words(line);
      std::vector<std::string> arguments;
      for (std::string word; words >> word;) {
        if (word.front() == '\'') word = word.substr(1, word.size() - 2);
        arguments.push_back(word);
      }
      REQUIRE(arguments.size() >= 2);
      CAPTURE(line);
      CHECK(arguments[1] == command);
      // Nothing shall run: the last option is wrong, and everything before it is checked first.
      arguments.erase(arguments.begin());
      const std::string refusal = run_refused(arguments + std::vector<std::string>{"--threads", "x"});
      CAPTURE(refusal);
      CHECK(refusal.starts_with("branchsae: error: --threads must be"));
    }
    CHECK(found >= 2);
  }
}

TEST_CASE("unknown words are refused, with the nearest known one") {
  CHECK(contains(run_refused({"trian"}), "did you mean 'train'?"));
  CHECK(contains(run_refused({"xyzzy"}), "unknown command 'xyzzy'"));
  CHECK(contains(run_refused({}), "no command given"));
  CHECK(contains(run_refused({"--device", "cpu", "inspect"}), "options come after the command"));
  CHECK(contains(run_refused({"inspect", "m.onnx", "--jsn"}),
                 "inspect has no option --jsn; did you mean '--json'?"));
  CHECK(contains(run_refused({"inspect", "m.onnx", "--xyzzy=3"}), "inspect has no option --xyzzy"));
  CHECK(contains(run_refused({"inspect", "a.onnx", "b.onnx"}), "unexpected argument 'b.onnx'"));
  CHECK(contains(run_refused({"classify", "m.onnx", "i", "--top"}), "--top needs a value"));
  CHECK(contains(run_refused({"classify", "m.onnx", "i", "--top", "0"}), "--top must be"));
  CHECK(contains(run_refused({"classify", "m.onnx", "i", "--json=maybe"}), "--json"));
  CHECK(contains(run_refused({"inspect", scene().model, "--device", "tpu"}),
                 "--device must be auto, cpu, cuda"));
}

TEST_CASE("missing arguments are named") {
  CHECK(contains(run_refused({"inspect"}), "MODEL"));
  CHECK(contains(run_refused({"classify", scene().model}), "IMAGES"));
  CHECK(contains(run_refused({"capture", scene().model, scene().images, "--out", "x"}), "--tap"));
  CHECK(contains(run_refused({"capture", scene().model, scene().images, "--tap", "mixed4a"}), "--out"));
  CHECK(contains(run_refused({"train", scene().model, scene().images, "--tap", "mixed4a"}), "--out"));
  CHECK(contains(run_refused({"encode"}), "RUN"));
  CHECK(contains(run_refused({"eval"}), "RUN"));
}

TEST_CASE("a folder that is called like a command is a folder") {
  const auto folder = temporary_folder();
  std::filesystem::create_directories(folder / "train");
  write_ppm(folder / "train" / "a.ppm", 64, 64, drawn_pixels(64, 64, 1));
  const auto result = run_json({"classify", scene().model, "train"}, {.folder = folder});
  CHECK(result["images"].size() == 1);
}

TEST_CASE("flag before environment before configuration file") {
  const auto folder = temporary_folder();
  std::ofstream(folder / "options.toml") << "json = true\n[classify]\ntop = 2\n";
  const std::vector<std::string> command = {"classify", scene().model, scene().images, "--config",
                                            "options.toml"};
  const auto guesses = [&](const std::vector<std::string>& arguments, const ProcessOptions& options) {
    const ProcessResult result = run_program(arguments, options);
    CAPTURE(result.err);
    REQUIRE(result.code == 0);
    return nlohmann::json::parse(result.out)["images"][0]["predictions"].size();
  };
  CHECK(guesses(command, {.folder = folder}) == 2);
  CHECK(guesses(command, {.environment = {{"BRANCHSAE_TOP", "3"}}, .folder = folder}) == 3);
  CHECK(guesses(command + std::vector<std::string>{"--top", "4"},
                {.environment = {{"BRANCHSAE_TOP", "3"}}, .folder = folder}) == 4);
  CHECK(guesses({"classify", scene().model, scene().images},
                {.environment = {{"BRANCHSAE_CONFIG", "options.toml"}}, .folder = folder}) == 2);
  CHECK(contains(run_refused(command, {.environment = {{"BRANCHSAE_TOP", "x"}}, .folder = folder}),
                 "BRANCHSAE_TOP"));
  std::ofstream(folder / "options.toml") << "tpo = 2\n";
  CHECK(contains(run_refused(command, {.folder = folder}), "did you mean 'top'?"));
  CHECK(contains(run_refused({"inspect", scene().model, "--config", "nowhere.toml"}, {.folder = folder}),
                 "nowhere.toml"));
}

TEST_CASE("results that cannot be written are an error, in one line") {
  const auto check = [](const std::vector<std::string>& arguments, const std::string& out) {
    CAPTURE(out);
    const ProcessResult result = run_program(arguments, {.out = out});
    CAPTURE(result.err);
    CHECK(result.signal == 0);
    CHECK(result.code == 1);
    CHECK(result.error_lines().size() == 1);
  };
  for (const char* out : {"closed", "broken", "/dev/full"}) {
    check({"--version"}, out);
    check({"train", "--help"}, out);
    check({"inspect", scene().model}, out);
    check({"inspect", scene().model, "--json"}, out);
  }
}

TEST_CASE("-q and --no-progress keep stderr quiet, -v says more") {
  const std::vector<std::string> command = {"classify", scene().model, scene().images};
  CHECK(run_program(command + std::vector<std::string>{"-q"}).err.empty());
  const ProcessResult normal = run_program(command);
  CHECK(contains(normal.err, "branchsae: device: "));
  CHECK(contains(normal.err, "branchsae: preprocessing: caffe"));
  CHECK(normal.out == run_program(command + std::vector<std::string>{"-v", "--no-progress"}).out);
}

TEST_CASE("files that cannot be written to the end are an error, and nothing is left") {
  const auto folder = temporary_folder();
  const std::vector<std::string> to = {"--out", (folder / "out").string()};
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"capture", scene().model, scene().images, "--tap", "mixed3a"},
        std::vector<std::string>{"train", scene().model, scene().images, "--tap", "mixed4d", "--tokens",
                                 "512", "--batch", "256", "--buffer-tokens", "512"}}) {
    const ProcessResult result = run_program(command + kSmall + to, {.largest_file = 40'000});
    CAPTURE(result.err);
    CHECK(result.code == 1);
    CHECK(result.out.empty());
    REQUIRE(result.error_lines().size() == 1);
    CHECK(contains(result.error_lines().front(), "out"));
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
      CAPTURE(entry.path().string());
      CHECK(entry.path().extension() != ".npy");
      CHECK(entry.path().extension() != ".safetensors");
    }
  }
}
