// train, eval, encode and inspect of a run, on a small model.
#include <doctest/doctest.h>

#include <signal.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "engine/files.h"
#include "engine/safetensors.h"
#include "tests/apps/scene.h"
#include "tests/test_data.h"

using namespace branchsae::test;
using branchsae::Shape;
namespace fs = std::filesystem;

namespace {

using Words = std::vector<std::string>;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

Words train(const fs::path& run, const Words& more = {}) {
  return train_arguments(run, Words{"--k", "3"} + more);
}

/// The run that most tests only read.
const fs::path& shared_run() {
  static const fs::path run = [] {
    const fs::path folder = temporary_folder() / "run";
    const ProcessResult result = run_program(train(folder));
    CAPTURE(result.err);
    REQUIRE(result.code == 0);
    return folder;
  }();
  return run;
}

std::string sae_bytes(const fs::path& run, const std::string& tap) {
  return branchsae::read_file(run / tap / "sae.safetensors");
}

nlohmann::json json_file(const fs::path& path) {
  return nlohmann::json::parse(std::ifstream(path));
}

/// Sum of squared errors over that of the distances to the mean, of x [tokens, d] and its reconstruction from
/// what `encode` wrote: x_hat = (W^T z + b_pre) / scale.
double fvu_by_hand(const Array<float>& x, const fs::path& sae_file, const Array<float>& values,
                   const Array<int32_t>& indices) {
  const auto sae = branchsae::read_safetensors(sae_file);
  const auto w = sae.at("W").to_host_tensor("W"), b_pre = sae.at("b_pre").to_host_tensor("b_pre");
  const double scale = std::stod(sae.metadata.at("scale"));
  const auto tokens = static_cast<size_t>(x.shape[0]), d = static_cast<size_t>(x.shape[1]);
  const auto k = static_cast<size_t>(values.shape[1]);
  std::vector<double> mean(d, 0.0);
  for (size_t i = 0; i < x.values.size(); ++i)
    mean[i % d] += static_cast<double>(x.values[i]) / static_cast<double>(tokens);
  double error = 0, variance = 0;
  for (size_t t = 0; t < tokens; ++t) {
    for (size_t c = 0; c < d; ++c) {
      double x_hat = static_cast<double>(b_pre[static_cast<int64_t>(c)]);
      for (size_t slot = 0; slot < k; ++slot) {
        const int32_t latent = indices.values[t * k + slot];
        if (latent < 0) continue;
        x_hat += static_cast<double>(values.values[t * k + slot]) *
                 static_cast<double>(w[latent * static_cast<int64_t>(d) + static_cast<int64_t>(c)]);
      }
      const auto value = static_cast<double>(x.values[t * d + c]);
      error += std::pow(value - x_hat / scale, 2);
      variance += std::pow(value - mean[c], 2);
    }
  }
  return error / variance;
}

}  // namespace

TEST_CASE("train leaves a complete run, and prints what eval.json holds") {
  const fs::path run = temporary_folder() / "deep" / "run";
  const auto document = run_json(train(run));
  CHECK(document["step"] == 10);
  CHECK(document["tokens"] == 640);
  REQUIRE(document["taps"].size() == 2);
  for (const auto& tap : document["taps"]) {
    const fs::path folder = run / tap["folder"].get<std::string>();
    for (const char* file : {"sae.safetensors", "config.json", "metrics.jsonl", "eval.json"}) {
      CAPTURE(file);
      CHECK(fs::exists(folder / file));
    }
    CHECK(tap["n"] == 4 * tap["d"].get<int64_t>());
    CHECK(tap["held_out"]["fvu"].is_number());
  }
  const auto recorded = json_file(run / "run.json");
  CHECK(recorded["options"]["precision"].is_string());
  CHECK(json_file(run / "mixed4d" / "config.json")["precision"] == recorded["options"]["precision"]);
  CHECK(contains(recorded.dump(), "\"expansion\""));
  CHECK(contains(recorded.dump(), fs::path(scene().model).filename().string()));
}

TEST_CASE("the table of train and of inspect RUN has a line a tap") {
  const ProcessResult table = run_program({"inspect", shared_run().string()});
  REQUIRE(table.code == 0);
  CHECK(contains(table.out, "\nmixed4c.5x5 "));
  CHECK(contains(table.out, "\nmixed4d "));
  CHECK(contains(table.out, "finished"));
  const auto document = run_json({"inspect", shared_run().string()});
  CHECK(document["status"] == "finished");
  CHECK(document["options"]["k"] == 3);
  CHECK(document["taps"].size() == 2);
  CHECK(contains(run_refused({"inspect", temporary_folder().string()}), "run"));
}

TEST_CASE("eval of the run's own images repeats the figures of train") {
  const auto document = run_json({"eval", shared_run().string()});
  CHECK(document["which"] == "held-out");
  CHECK(document["images"] == 1);  // every tenth of twelve
  REQUIRE(document["evaluations"].size() == 2);
  const auto inspected = run_json({"inspect", shared_run().string()});
  for (size_t i = 0; i < 2; ++i) {
    for (const char* figure : {"fvu", "mse", "l0", "dead", "cosine"}) {
      CAPTURE(figure);
      CHECK(document["evaluations"][i][figure] == inspected["taps"][i]["held_out"][figure]);
    }
  }
}

TEST_CASE("eval tries other k on the same weights") {
  const auto document =
      run_json({"eval", shared_run().string(), "--tap", "mixed4d", "--k", "1,3,8", "--all"});
  REQUIRE(document["evaluations"].size() == 3);
  CHECK(document["images"] == Scene::kImages);
  double last_l0 = 0;
  for (const auto& one : document["evaluations"]) {
    CHECK(one["tap"] == "mixed4d");
    CHECK(one["l0"].get<double>() <= one["k"].get<double>());
    CHECK(one["l0"].get<double>() >= last_l0);
    last_l0 = one["l0"].get<double>();
  }
  CHECK(contains(run_refused({"eval", shared_run().string(), "--k", "100000"}), "100000"));
  CHECK(contains(run_refused({"eval", shared_run().string(), "--tap", "mixed4z"}), "mixed4z"));
}

TEST_CASE("encode, capture and sae.safetensors together give eval's FVU") {
  const fs::path encoded = temporary_folder(), captured = temporary_folder();
  REQUIRE(run_program({"encode", shared_run().string(), "--out", encoded.string()}).code == 0);
  REQUIRE(run_program(Words{"capture", scene().model, scene().images, "--tap", "mixed4c.5x5,mixed4d",
                            "--tokens", "--out", captured.string()} +
                      kSmall)
              .code == 0);
  const auto evaluated = run_json({"eval", shared_run().string(), "--all"});
  for (size_t i = 0; i < 2; ++i) {
    const std::string tap = evaluated["evaluations"][i]["tap"];
    CAPTURE(tap);
    const Array<float> values = read_floats(encoded / (tap + ".values.npy"));
    const Array<int32_t> indices = read_ints(encoded / (tap + ".indices.npy"));
    REQUIRE(values.shape == Shape{Scene::kImages * 16, 3});
    REQUIRE(indices.shape == values.shape);
    for (size_t slot = 0; slot < indices.values.size(); ++slot) {
      const bool used = indices.values[slot] >= 0;
      CHECK((used ? values.values[slot] > 0 : values.values[slot] == 0));
      if (slot % 3 != 0 && used) CHECK(indices.values[slot] > indices.values[slot - 1]);
    }
    const double fvu = fvu_by_hand(read_floats(captured / (tap + ".npy")),
                                   shared_run() / tap / "sae.safetensors", values, indices);
    // float32 sums of at most 64 terms in the executor against double here: 1e-5 relative is ten times that.
    CHECK(evaluated["evaluations"][i]["fvu"].get<double>() == doctest::Approx(fvu).epsilon(1e-5));
  }
}

TEST_CASE("encode takes other images, another k and some of the taps") {
  const fs::path out = temporary_folder();
  const std::string one = (fs::path(scene().images) / "n01440764" / "picture_0.ppm").string();
  REQUIRE(run_program(
              {"encode", shared_run().string(), one, "--tap", "mixed4d", "--k", "5", "--out", out.string()})
              .code == 0);
  CHECK(read_floats(out / "mixed4d.values.npy").shape == Shape{16, 5});
  CHECK_FALSE(fs::exists(out / "mixed4c.5x5.values.npy"));
}

TEST_CASE("a run stopped by a signal and resumed ends with the same autoencoder") {
  for (const int signal : {SIGINT, SIGTERM}) {
    const fs::path run = temporary_folder() / "run";
    const Words long_run = train(run, {"--tokens", "100M"});
    const ProcessResult stopped =
        run_program(long_run, {.signal_when_file = run / "mixed4d" / "metrics.jsonl", .signal = signal});
    CAPTURE(stopped.err);
    CHECK(stopped.code == 128 + signal);
    CHECK(stopped.error_lines().empty());
    CHECK(contains(stopped.err, "branchsae train --resume " + run.string()));
    const int64_t step = run_json({"inspect", run.string()})["step"];
    // Until where the schedule says: at least as far as it came, in whole batches.
    const std::string tokens = std::to_string(64 * (step + 7));
    const ProcessResult resumed = run_program({"train", "--resume", run.string(), "--tokens", tokens});
    CAPTURE(resumed.err);
    CHECK(resumed.code == 0);
    CHECK(run_json({"inspect", run.string()})["step"] == step + 7);
  }
}

TEST_CASE("killed, resumed: the same bytes as never stopped") {
  const fs::path whole = temporary_folder() / "run", killed = temporary_folder() / "run";
  const Words often = {"--tokens", "6400", "--checkpoint-every", "5"};
  REQUIRE(run_program(train(whole, often)).code == 0);
  const ProcessResult result =
      run_program(train(killed, often), {.signal_when_file = killed / "checkpoint.json", .signal = SIGKILL});
  // If the machine was so busy that training ended first, there was nothing to interrupt.
  REQUIRE(result.signal == SIGKILL);
  REQUIRE(run_program({"train", "--resume", killed.string()}).code == 0);
  for (const char* tap : {"mixed4c.5x5", "mixed4d"}) {
    CHECK(sae_bytes(whole, tap) == sae_bytes(killed, tap));
    CHECK(branchsae::read_file(whole / tap / "eval.json") ==
          branchsae::read_file(killed / tap / "eval.json"));
  }
}

TEST_CASE("a second signal ends the process at once") {
  const fs::path run = temporary_folder() / "run";
  const ProcessResult result =
      run_program(train(run, {"--tokens", "100M", "-v"}),
                  {.signal_when = "branchsae: device", .signal = SIGINT, .signals = 2});
  CHECK(result.code == 128 + SIGINT);
}

TEST_CASE("equal options give equal bytes") {
  const fs::path again = temporary_folder() / "run";
  REQUIRE(run_program(train(again)).code == 0);
  for (const char* tap : {"mixed4c.5x5", "mixed4d"})
    CHECK(sae_bytes(again, tap) == sae_bytes(shared_run(), tap));
}

TEST_CASE("--conv direct: recorded, other bytes, taken up by encode, kept by --resume") {
  const fs::path run = temporary_folder() / "direct";
  run_json(train(run, {"--device", "cpu", "--conv", "direct"}));
  CHECK(json_file(run / "run.json")["options"]["conv"] == "direct");
  CHECK(json_file(shared_run() / "run.json")["options"]["conv"] == "auto");
  CHECK(contains(run_refused({"train", "--resume", run.string(), "--conv", "auto"}), "conv"));

  const auto captured = [&](const char* conv) {
    const fs::path folder = temporary_folder() / conv;
    REQUIRE(run_program({"capture", scene().model, scene().images, "--device", "cpu", "--tap", "mixed4d",
                         "--out", folder.string(), "--conv", conv})
                .code == 0);
    CHECK(json_file(folder / "capture.json")["conv"] == conv);
    return branchsae::read_file(folder / "mixed4d.npy");
  };
  CHECK(captured("direct") != captured("auto"));  // Winograd rounds differently
  CHECK(captured("direct") == captured("direct"));

  const auto encoded = [&](const Words& more) {
    const fs::path folder = temporary_folder() / "encoded";
    REQUIRE(
        run_program(Words{"encode", run.string(), "--device", "cpu", "--out", folder.string()} + more).code ==
        0);
    const std::string bytes = branchsae::read_file(folder / "mixed4d.values.npy");
    fs::remove_all(folder);
    return bytes;
  };
  CHECK(encoded({}) == encoded({"--conv", "direct"}));
  CHECK(encoded({}) != encoded({"--conv", "auto"}));
  CHECK(run_program({"eval", run.string(), "--device", "cpu", "--conv", "auto"}).code == 0);
}

TEST_CASE("--resume refuses what would make it another run") {
  const std::string run = shared_run().string();
  const std::string before = sae_bytes(shared_run(), "mixed4d");
  CHECK(contains(run_refused({"train", "--resume", run, "--k", "4"}), "k"));
  CHECK(contains(run_refused({"train", "--resume", run, "--seed", "6"}), "seed"));
  CHECK(contains(run_refused({"train", "--resume", run, "--tap", "mixed4e"}), "mixed4e"));
  CHECK(contains(run_refused({"train", "--resume", run, "--out", "elsewhere"}), "--out"));
  CHECK(contains(run_refused({"train", "--resume", run, "--preset", "paper"}), "--preset"));
  CHECK(contains(run_refused({"train", "--resume", temporary_folder().string()}), "run"));
  CHECK(contains(run_refused({"train", "--resume", "/nonexistent/run"}), "/nonexistent/run"));
  CHECK(run_program({"train", "--resume", run, "--k", "3", "--threads", "1"}).code == 0);
  CHECK(sae_bytes(shared_run(), "mixed4d") == before);
}

TEST_CASE("a run's folder is not written over") {
  const std::string before = sae_bytes(shared_run(), "mixed4d");
  run_refused(train(shared_run(), {"--seed", "9"}));
  CHECK(sae_bytes(shared_run(), "mixed4d") == before);
}

TEST_CASE("a run whose model or images are gone or have changed says so") {
  const fs::path place = temporary_folder(), run = place / "run";
  fs::copy(scene().model, place / "model.onnx");
  fs::copy(scene().images, place / "pictures", fs::copy_options::recursive);
  Words words = train(run);
  words[1] = (place / "model.onnx").string();
  words[2] = (place / "pictures").string();
  REQUIRE(run_program(words).code == 0);

  fs::rename(place / "pictures", place / "elsewhere");
  CHECK(contains(run_refused({"eval", run.string()}), "--images"));
  CHECK(run_json({"eval", run.string(), "--images", (place / "elsewhere").string()})["which"] == "held-out");
  fs::rename(place / "elsewhere", place / "pictures");
  write_ppm(place / "pictures" / "one_more.ppm", 64, 64, drawn_pixels(64, 64, 3));
  CHECK(contains(run_refused({"eval", run.string()}), "images"));
  CHECK(run_json({"eval", run.string(), (place / "pictures").string()})["which"] == "given");

  fs::remove(place / "pictures" / "one_more.ppm");
  fs::rename(place / "model.onnx", place / "moved.onnx");
  CHECK(contains(run_refused({"eval", run.string()}), "--model"));
  CHECK(run_json({"eval", run.string(), "--model", (place / "moved.onnx").string()})["which"] == "held-out");
  fs::copy(scene().model, place / "other.onnx");
  std::ofstream(place / "other.onnx", std::ios::app | std::ios::binary) << std::string("\x32\x00", 2);
  run_refused({"eval", run.string(), "--model", (place / "other.onnx").string()});
}
