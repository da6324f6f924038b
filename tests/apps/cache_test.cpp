// train --cache, --sample and many taps from one forward pass, as a user runs them.
#include <doctest/doctest.h>

#include <signal.h>

#include <algorithm>
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

Words train(const fs::path& run, const std::string& taps, const Words& more = {}) {
  return train_arguments(run, Words{"--k", "3"} + more, taps);
}

std::string sae_bytes(const fs::path& run, const std::string& tap) {
  return branchsae::read_file(run / tap / "sae.safetensors");
}

std::string all_bytes(const fs::path& run) {
  std::string bytes;
  for (const char* tap : {"mixed4c.5x5", "mixed4d"}) {
    bytes += sae_bytes(run, tap) + branchsae::read_file(run / tap / "eval.json");
  }
  return bytes;
}

int64_t warnings_in(const ProcessResult& result) {
  return std::ranges::count_if(
      result.err_lines(), [](const std::string& line) { return line.starts_with("branchsae: warning:"); });
}

}  // namespace

TEST_CASE("a second run with the cache runs the network on no image and gives the same bytes") {
  const fs::path place = temporary_folder();
  const Words cache = {"--cache", (place / "cache").string()};
  REQUIRE(run_program(train(place / "plain", kTwoTaps)).code == 0);
  CHECK(run_json(train(place / "cold", kTwoTaps, cache))["forward_images"] == Scene::kImages);
  CHECK(run_json(train(place / "warm", kTwoTaps, cache))["forward_images"] == 0);
  CHECK(all_bytes(place / "cold") == all_bytes(place / "plain"));
  CHECK(all_bytes(place / "warm") == all_bytes(place / "plain"));
  CHECK(run_json(train(place / "other", kTwoTaps,
                       cache + Words{"--k", "5", "--lr", "1e-3"}))["forward_images"] == 0);
  CHECK(contains(run_refused(train(place / "no", kTwoTaps, cache + Words{"--cache-precision", "bf16"})),
                 "--cache-precision fp32"));
  CHECK(contains(run_refused(train(place / "no", kTwoTaps, cache + Words{"--crop", "48"})), "another"));
  CHECK(contains(run_refused(train(place / "no", kTwoTaps, cache + Words{"--threads", "3"})), "(device: "));
  CHECK(contains(run_refused(train(place / "no", kTwoTaps, {"--cache", place.string()})), "no cache.json"));
  CHECK(contains(run_refused(train(place / "no", kTwoTaps, {"--cache-precision", "bf16"})), "--cache"));
  CHECK(contains(run_refused(train(place / "no", kTwoTaps, {"--cache-precision", "fp8"})), "fp32 or bf16"));
  CHECK_FALSE(fs::exists(place / "no"));
}

TEST_CASE("killed while the cache fills: the next run takes what is complete and ends with the same bytes") {
  const fs::path place = temporary_folder();
  REQUIRE(run_program(train(place / "plain", kTwoTaps)).code == 0);
  const Words cache = {"--cache", (place / "cache").string(), "--checkpoint-every", "2"};
  const ProcessResult killed =
      run_program(train(place / "run", kTwoTaps, cache),
                  {.signal_when_file = place / "cache" / "mixed4d" / "00000.act", .signal = SIGKILL});
  REQUIRE(killed.signal == SIGKILL);
  const ProcessResult resumed = run_program({"train", "--resume", (place / "run").string()});
  CAPTURE(resumed.err);
  CHECK(resumed.code == 0);
  CHECK(all_bytes(place / "run") == all_bytes(place / "plain"));
  CHECK(run_json(train(place / "warm", kTwoTaps, cache))["forward_images"] == 0);
}

TEST_CASE("damage is one line a file, and changes nothing") {
  const fs::path place = temporary_folder();
  const Words cache = {"--cache", (place / "cache").string()};
  REQUIRE(run_program(train(place / "cold", kTwoTaps, cache)).code == 0);
  const fs::path shard = place / "cache" / "mixed4d" / "00000.act";
  std::string bytes = branchsae::read_file(shard);
  bytes[5000] = static_cast<char>(bytes[5000] ^ 4);
  std::ofstream(shard, std::ios::binary) << bytes;
  const ProcessResult flipped = run_program(train(place / "flipped", kTwoTaps, cache));
  CHECK(flipped.code == 0);
  CHECK(warnings_in(flipped) == 1);
  CHECK(contains(flipped.err, "00000.act', image '"));
  CHECK(contains(flipped.err, "the checksum is wrong"));
  CHECK(all_bytes(place / "flipped") == all_bytes(place / "cold"));
  fs::resize_file(shard, 5000);
  const ProcessResult cut = run_program(train(place / "cut", kTwoTaps, cache));
  CHECK(cut.code == 0);
  CHECK(warnings_in(cut) == 1);
  CHECK(contains(cut.err, "cut off"));
  CHECK(all_bytes(place / "cut") == all_bytes(place / "cold"));
  CHECK(warnings_in(run_program(train(place / "healed", kTwoTaps, cache))) == 0);
}

TEST_CASE("a cache.json that is damaged is one line with advice, and changes nothing but the time") {
  const fs::path place = temporary_folder();
  const Words cache = {"--cache", (place / "cache").string()};
  REQUIRE(run_program(train(place / "cold", kTwoTaps, cache)).code == 0);
  for (const char* text : {"", "{\"format\": \"bran", "{}", "[1]"}) {
    CAPTURE(std::string(text));
    std::ofstream(place / "cache" / "cache.json", std::ios::binary) << text;
    const fs::path run = place / "run";
    const ProcessResult result = run_program(train(run, kTwoTaps, cache));
    CAPTURE(result.err);
    CHECK(result.code == 0);
    CHECK(warnings_in(result) == 1);
    CHECK(contains(result.err, "cache.json' is damaged"));
    CHECK(contains(result.err, "delete the folder"));
    CHECK(all_bytes(run) == all_bytes(place / "cold"));
    CHECK(branchsae::read_file(place / "cache" / "cache.json") == text);
    fs::remove_all(run);
  }
}

TEST_CASE("a disk that is full while caching is one warning") {
  const fs::path place = temporary_folder();
  REQUIRE(run_program(train(place / "plain", kTwoTaps)).code == 0);
  // Above the files of a run, below a shard.
  const ProcessResult result = run_program(
      train(place / "run", kTwoTaps, {"--cache", (place / "cache").string()}), {.largest_file = 150'000});
  CAPTURE(result.err);
  CHECK(result.code == 0);
  CHECK(warnings_in(result) == 1);
  CHECK(contains(result.err, "training goes on"));
  CHECK(all_bytes(place / "run") == all_bytes(place / "plain"));
}

TEST_CASE("all branches, whole layers and joined layers train from one pass, each as it does alone") {
  const fs::path place = temporary_folder();
  const Words taps = {"mixed4a.5x5",     "mixed4b.5x5",
                      "mixed4c.5x5",     "mixed4d.5x5",
                      "mixed4e.5x5",     "mixed4d.1x1",
                      "mixed4d.3x3",     "mixed4d.pool",
                      "mixed4b",         "mixed4a+mixed4b+mixed4c+mixed4d+mixed4e",
                      "mixed4a..mixed4e"};
  std::string joined;
  for (const std::string& tap : taps) joined += (joined.empty() ? "" : ",") + tap;
  const auto together = run_json(train(place / "together", joined));
  CHECK(together["taps"].size() == taps.size());
  // 10 steps read no image twice, and the last one more than there are: every image once, for all taps.
  CHECK(together["forward_images"] == Scene::kImages);
  for (const std::string& tap : {taps[4], taps[7], taps[10]}) {
    CAPTURE(tap);
    CHECK(run_json(train(place / tap, tap))["forward_images"] == Scene::kImages);
    CHECK(sae_bytes(place / tap, tap) == sae_bytes(place / "together", tap));
  }
  // A range is the layers it spans; what differs is the name, which seeds the start.
  const auto width = [&](size_t tap) { return together["taps"][tap]["d"].get<int64_t>(); };
  CHECK(width(9) == width(10));
  CHECK(width(10) > 4 * width(8));
}

TEST_CASE("positions are sampled by norm, which is recorded") {
  const fs::path place = temporary_folder();
  const Words some = {"--positions-per-image", "4"};
  REQUIRE(run_program(train(place / "uniform", kTwoTaps, some)).code == 0);
  REQUIRE(run_program(train(place / "norm", kTwoTaps, some + Words{"--sample", "norm"})).code == 0);
  REQUIRE(run_program(train(place / "again", kTwoTaps, some + Words{"--sample", "norm"})).code == 0);
  CHECK(all_bytes(place / "norm") == all_bytes(place / "again"));
  CHECK(sae_bytes(place / "norm", "mixed4d") != sae_bytes(place / "uniform", "mixed4d"));
  CHECK(contains(run_refused({"train", "--resume", (place / "norm").string(), "--sample", "uniform"}),
                 "--sample"));
  CHECK(contains(run_refused(train(place / "no", kTwoTaps, {"--sample", "length"})), "uniform or norm"));
  const ProcessResult idle = run_program(train(place / "idle", kTwoTaps, {"--sample", "norm"}));
  CHECK(contains(idle.err, "--positions-per-image"));
}
