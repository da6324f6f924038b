// train --sweep as a user runs it, on a small model.
#include <doctest/doctest.h>
#include <signal.h>

#include <fstream>

#include "engine/files.h"
#include "tests/apps/scene.h"
#include "tests/test_data.h"

using namespace branchsae::test;
namespace fs = std::filesystem;

namespace {

using Words = std::vector<std::string>;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

Words train(const fs::path& run, const Words& more) {
  return train_arguments(run, Words{"--log-every", "2"} + more);
}

std::map<std::string, std::string> files_of(const fs::path& run) {
  std::map<std::string, std::string> files;
  for (const char* tap : {"mixed4c.5x5", "mixed4d"}) {
    for (const char* name : {"sae.safetensors", "config.json", "eval.json"})
      files[std::string(tap) + "/" + name] = branchsae::read_file(run / tap / name);
  }
  return files;
}

}  // namespace

TEST_CASE("each run of a grid is complete, and has the bytes of training alone") {
  const fs::path run = temporary_folder() / "run";
  const auto document =
      run_json(train(run, {"--sweep", "k=2,4", "lr=1e-3,auto", "--plot", "--log-format", "tensorboard"}));
  REQUIRE(document["members"].size() == 4);
  int best = 0;
  for (const auto& member : document["members"]) {
    CHECK(member["failure"].is_null());
    REQUIRE(member["taps"].size() == 2);
    for (const auto& tap : member["taps"]) {
      CHECK(tap["held_out"]["fvu"].is_number());
      CHECK(tap["train_loss"].is_number());
      best += tap["best"].get<bool>();
    }
    CHECK(fs::exists(fs::path(member["folder"].get<std::string>()) / "mixed4d" / "loss.svg"));
    CHECK(fs::is_directory(fs::path(member["folder"].get<std::string>()) / "mixed4d" / "tensorboard"));
  }
  CHECK(best == 2);
  CHECK(document["timings"]["forward"].get<double>() > 0);
  CHECK(document["timings"]["encode"].get<double>() > 0);
  CHECK(document["timings"]["peak_memory_bytes"].get<int64_t>() > 1 << 20);
  for (const char* name : {"sweep.csv", "sweep.svg", "run.json"}) CHECK(fs::exists(run / name));

  const fs::path alone = temporary_folder() / "run", member = run / "sweep" / "k=4,lr=1e-3";
  REQUIRE(run_program(train(alone, {"--k", "4", "--lr", "1e-3"})).code == 0);
  CHECK(files_of(member) == files_of(alone));
  const auto recorded = nlohmann::json::parse(std::ifstream(member / "run.json"));
  CHECK(recorded["options"]["k"] == 4);
  CHECK(recorded["command_line"]["lr"] == "0.001");
  CHECK(recorded["timings"]["total"].get<double>() > 0);
  CHECK(run_json({"eval", member.string()})["evaluations"].size() == 2);

  const ProcessResult table = run_program({"inspect", run.string()});
  CHECK(table.code == 0);
  CHECK(contains(table.out, "k=2,lr=auto"));
  const auto again = run_json({"inspect", run.string()})["members"];
  REQUIRE(again.size() == 4);
  for (size_t i = 0; i < 4; ++i) {
    for (size_t tap = 0; tap < 2; ++tap)
      CHECK(again[i]["taps"][tap]["train_loss"] == document["members"][i]["taps"][tap]["train_loss"]);
  }
  CHECK(contains(run_refused({"eval", run.string()}), "is a sweep of 4 runs; give one of them"));
  CHECK(contains(run_refused({"encode", run.string(), "--out", (run / "x").string()}), "sweep/k=2,lr=1e-3"));
}

TEST_CASE("killed in the middle, a sweep goes on exactly") {
  const Words grid = {"--sweep", "k=2,4", "--tokens", "6400", "--checkpoint-every", "5"};
  const fs::path whole = temporary_folder() / "run", killed = temporary_folder() / "run";
  REQUIRE(run_program(train(whole, grid)).code == 0);
  const ProcessResult result =
      run_program(train(killed, grid),
                  {.signal_when_file = killed / "sweep" / "k=2" / "checkpoint.json", .signal = SIGKILL});
  // If the machine was so busy that training ended first, there was nothing to interrupt.
  REQUIRE(result.signal == SIGKILL);
  REQUIRE(run_program({"train", "--resume", killed.string()}).code == 0);
  for (const char* member : {"k=2", "k=4"})
    CHECK(files_of(killed / "sweep" / member) == files_of(whole / "sweep" / member));
  // One of them alone, further.
  const std::string one = (killed / "sweep" / "k=4").string();
  CHECK(run_json({"train", "--resume", one, "--tokens", "7040"})["step"] == 110);
}

TEST_CASE("what cannot be swept is one line, and nothing is written") {
  const fs::path run = temporary_folder() / "run";
  const auto refusal = [&](const Words& more) { return run_refused(train(run, more)); };
  CHECK(contains(refusal({"--sweep", "tokens=1M,2M"}), "--sweep cannot vary 'tokens'"));
  CHECK(contains(refusal({"--sweep", "k=2,x"}), "--sweep k: must be a whole number"));
  CHECK(contains(refusal({"--sweep", "k=2,4", "--k", "8"}), "--sweep varies 'k': leave out --k"));
  CHECK(contains(refusal({"--sweep", "k=2,2"}), "same combination twice"));
  CHECK(contains(refusal({"--sweep", "k=2,100000"}), "k must be in 1..n"));
  CHECK(contains(refusal({"--log-format", "csv"}), "jsonl or tensorboard"));
  CHECK(contains(run_refused({"train", "--resume", run.string(), "--sweep", "k=4"}), "leave out --sweep"));
  CHECK_FALSE(fs::exists(run));
}

TEST_CASE("a text of several keys in the environment is a grid too, and the table says where time went") {
  const fs::path run = temporary_folder() / "run";
  const ProcessResult result =
      run_program(train(run, {}), {.environment = {{"BRANCHSAE_SWEEP", "k=2,4 warmup=0,5"}}});
  CAPTURE(result.err);
  REQUIRE(result.code == 0);
  for (const char* part : {"k=4,warmup=5", "time went to", "network", "peak memory", " *"})
    CHECK(contains(result.out, part));
}
