#include "model/run.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "engine/error.h"
#include "engine/files.h"
#include "model/metrics_log.h"
#include "model/run_lock.h"
#include "tests/test_data.h"

using namespace branchsae;
using namespace branchsae::model;
namespace fs = std::filesystem;

namespace {

RunInfo example() {
  RunInfo info;
  info.origin = {"/models/a.onnx", {"/photos", "/more"}, {{"k", "32"}}, {{"branchsae", "0.1.0"}}};
  info.model_sha256 = "abc";
  info.preprocess = "caffe";
  info.images_fingerprint = "def";
  info.images_count = 9;
  info.options.taps = {"mixed4c.5x5"};
  info.taps = {{"inception_4c/5x5", "inception_4c.5x5", 64, 1024, 32}};
  info.round_images = 5;
  info.total_steps = 100;
  info.status = "running";
  info.step = 12;
  info.device = "cpu";
  info.skipped = {{3, "b\xff.jpg", "truncated"}};
  info.timings.total = 1.5;
  info.timings.decode = 0.25;
  info.timings.peak_memory_bytes = int64_t{5} << 30;
  info.failure = "met NaN";
  info.members = {{"k=4", "finished", ""}, {"k=8", "failed", "met NaN"}};
  return info;
}

}  // namespace

TEST_CASE("run.json comes back as it was written") {
  const fs::path run = test::temporary_folder();
  write_run(run, example());
  const RunInfo info = read_run(run);
  CHECK(info.origin.model_path == "/models/a.onnx");
  CHECK(info.origin.images == std::vector<std::string>{"/photos", "/more"});
  CHECK(info.origin.options.at("k") == "32");
  CHECK(info.origin.versions.at("branchsae") == "0.1.0");
  CHECK(info.images_count == 9);
  CHECK(info.taps.at(0).n == 1024);
  CHECK(info.taps.at(0).folder == "inception_4c.5x5");
  CHECK(info.options.out == run);
  CHECK(info.skipped.at(0).reason == "truncated");
  CHECK(info.timings.total == 1.5);
  CHECK(info.timings.decode == 0.25);
  CHECK(info.timings.peak_memory_bytes == int64_t{5} << 30);
  CHECK(info.failure == "met NaN");
  REQUIRE(info.members.size() == 2);
  CHECK(info.members[1].name == "k=8");
  CHECK(info.members[1].status == "failed");
  CHECK(info.members[1].failure == "met NaN");
  CHECK(sae_path(run, info.taps[0]) == run / "inception_4c.5x5" / "sae.safetensors");
  CHECK(find_tap(info, "inception_4c/5x5").d == 64);
  CHECK_THROWS_AS(find_tap(info, "mixed4c"), InputError);
  CHECK_NOTHROW(check_same_model(info, "abc"));
  CHECK_THROWS_AS(check_same_model(info, "abd"), InputError);
  CHECK_THROWS_AS(check_same_images(info, "abd"), InputError);
}

TEST_CASE("a folder without a run, or with a damaged one, is refused") {
  const fs::path run = test::temporary_folder();
  CHECK_THROWS_AS(read_run(run), InputError);
  for (const char* text :
       {"", "{", "[]", "{}", "{\"format\": 1}", "{\"format\": 99}", "{\"format\": \"x\"}"}) {
    std::ofstream(run / "run.json", std::ios::trunc) << text;
    CHECK_THROWS_AS(read_run(run), InputError);
  }
  RunInfo escaping = example();
  escaping.taps[0].folder = "../elsewhere";
  write_run(run, escaping);
  CHECK_THROWS_AS(read_run(run), InputError);
}

TEST_CASE("one process at a time holds a run") {
  const fs::path run = test::temporary_folder();
  {
    const RunLock lock(run);
    CHECK(read_file(run / "lock").find(std::to_string(::getpid())) != std::string::npos);
    try {
      const RunLock second(run);  // another open file, as another process would have
      FAIL("locked twice");
    } catch (const InputError& error) {
      CHECK(std::string(error.what()).find(std::to_string(::getpid())) != std::string::npos);
    }
  }
  CHECK_FALSE(fs::exists(run / "lock"));
  const RunLock again(run);
}

TEST_CASE("a lock of a process that was killed is taken over") {
  const fs::path run = test::temporary_folder();
  const pid_t child = ::fork();
  if (child == 0) {
    const RunLock lock(run);
    ::_exit(0);  // as kill -9: no destructor runs
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK(fs::exists(run / "lock"));
  const RunLock lock(run);
  CHECK(read_file(run / "lock").find(std::to_string(::getpid())) != std::string::npos);
}

TEST_CASE("metrics are cut back to the checkpoint, and a cut-off line goes") {
  const fs::path path = test::temporary_folder() / "metrics.jsonl";
  {
    MetricsLog log(path, 0);
    for (int64_t step : {5, 10, 15}) log.append(step, step * 100, {.tap = "a", .loss = 0.5}, 1e6);
  }
  std::ofstream(path, std::ios::app) << "{\"step\": 1";
  { MetricsLog log(path, 10); }
  const std::string text = read_file(path);
  CHECK(std::ranges::count(text, '\n') == 2);
  CHECK(text.find("\"step\":10,\"tokens\":1000,\"loss\":0.5") != std::string::npos);
  CHECK(text.find("\"step\":15") == std::string::npos);
  MetricsLog log(path, 10);
  log.append(15, 1500, {}, 0);
  CHECK(std::ranges::count(read_file(path), '\n') == 3);
}

TEST_CASE("sums of steps become a line's figures") {
  StepSums sums;
  SaeStats stats;
  stats.tokens = 10;
  stats.squared_error = 4;
  stats.total_variance = 20;
  stats.active = 30;
  stats.dead = 7;
  sums.add(stats);
  stats.squared_error = 2;
  stats.dead = 5;
  sums.add(stats);
  const TapProgress progress = sums.progress("a", 50, 1e-3);
  CHECK(progress.loss == doctest::Approx(0.3));
  CHECK(progress.fvu == doctest::Approx(0.15));
  CHECK(progress.l0 == doctest::Approx(3));
  CHECK(progress.dead == doctest::Approx(0.1));  // now, not summed
}
