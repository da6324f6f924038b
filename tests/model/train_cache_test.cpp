/// Training from activations on disk: nothing that happens to the cache changes a run's bytes.
#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "engine/files.h"
#include "tests/model/cache_fixture.h"
#include "tests/model/train_fixture.h"
#include "tests/test_data.h"

using namespace branchsae;
using namespace branchsae::test;
namespace fs = std::filesystem;

namespace {

using Files = std::map<std::string, std::string>;

/// Four rounds, two and a half epochs of 36 training images.
TrainOptions cached_options(const fs::path& cache) {
  TrainOptions options = small_options(temporary_folder() / "run");
  options.tokens = 60 * 24;
  options.cache = cache;
  return options;
}

/// The least memory that the job takes: nothing is left to keep activations in.
int64_t least_memory(const FakeImages& images, TrainOptions options) {
  options.cache.clear();
  options.cache_precision = CachePrecision::kF32;
  for (options.max_memory = 1 << 12;; options.max_memory += 512) {
    try {
      options.out = temporary_folder() / "run";
      run_job(options, images, stop_after(0));
      return options.max_memory;
    } catch (const InputError&) {
    }
  }
}

struct Outcome {
  Files files;
  int64_t images_run = 0;  ///< without the blank one that tells the grids
};

Outcome finish(TrainOptions options, const FakeImages& images, FakeControl control = {},
               const TrainCallbacks& callbacks = {}) {
  if (!options.resume) options.out = temporary_folder() / "run";
  run_job_on(fake_device(control), options, images, callbacks);
  return {result_files(options.out), control.images_run - 1};
}

/// A cache of shards of a few images each, empty.
fs::path small_shards(const TrainOptions& like, const FakeImages& images, int64_t per_shard) {
  TrainOptions options = like;
  options.out = temporary_folder() / "run";
  options.cache = temporary_folder() / "cache";
  run_job(options, images, stop_after(0));
  auto json = nlohmann::ordered_json::parse(read_file(options.cache / "cache.json"));
  json["images_per_shard"] = per_shard;
  write_file_atomically(options.cache / "cache.json", json.dump());
  for (const auto& entry : fs::recursive_directory_iterator(options.cache)) {
    if (entry.path().extension() == ".act") fs::remove(entry.path());
  }
  return options.cache;
}

std::vector<fs::path> shards_in(const fs::path& cache) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::recursive_directory_iterator(cache)) {
    if (entry.path().extension() == ".act") found.push_back(entry.path());
  }
  std::ranges::sort(found);
  return found;
}

}  // namespace

TEST_CASE("with a cache cold, warm, too small or half full a run ends with the bytes of one without") {
  FakeImages images(40);
  images.unreadable = {{5, "broken"}, {19, "held out and broken"}, {30, "broken"}};
  for (const std::vector<std::string>& taps : {std::vector<std::string>{"a", "b"}, {"c", "b"}}) {
    TrainOptions plain = cached_options({});
    plain.taps = taps;
    const Outcome expected = finish(plain, images);
    for (const int64_t memory : {int64_t{0}, least_memory(images, plain)}) {
      for (const FakeControl& control : {FakeControl{}, FakeControl{.host = false, .deferred = true}}) {
        CAPTURE(memory);
        CAPTURE(control.host);
        TrainOptions cached = plain;
        cached.max_memory = control.host ? memory : 0;
        cached.cache = small_shards(cached, images, 8);
        const Outcome cold = finish(cached, images, control), warm = finish(cached, images, control);
        CHECK(cold.files == expected.files);
        CHECK(warm.files == expected.files);
        CHECK(cold.images_run == 37);  // each readable image once, however often it trains
        CHECK(warm.images_run == 3);   // a held-out image is unreadable, so the held-out ones are run as ever
        cached.cache = small_shards(cached, images, 8);
        cached.cache_size = 2 * (12 << 10) + (4 << 10);
        for (int round = 0; round < 2; ++round) {
          const Outcome some = finish(cached, images, control);
          CHECK(some.files == expected.files);
          if (memory > 0 && control.host) CHECK(some.images_run > 37);
        }
        CHECK_FALSE(shards_in(cached.cache).empty());
      }
    }
  }
}

TEST_CASE("the second run reads no image and runs the network on none") {
  const FakeImages images(40);
  TrainOptions options = cached_options(temporary_folder() / "cache");
  const Outcome cold = finish(options, images);
  CHECK(cold.images_run == 40);
  images.reads = 0;
  options.k = 4;  // what a sweep varies leaves the tokens alone
  options.learning_rate = 1e-3;
  const Outcome warm = finish(options, images);
  CHECK(warm.images_run == 0);
  CHECK(images.reads == 0);
  options.taps = {"b"};
  CHECK(finish(options, images).images_run == 0);
  options.taps = {"b", "c"};
  CHECK(finish(options, images).images_run == 40);
  CHECK(finish(options, images).images_run == 0);
}

TEST_CASE("bf16 rounds every token, whatever the cache holds") {
  const FakeImages images(40);
  TrainOptions options = cached_options({});
  const Files fp32 = finish(options, images).files;
  for (const int64_t memory : {int64_t{0}, least_memory(images, options)}) {
    options.max_memory = memory;
    options.cache_precision = CachePrecision::kBf16;
    options.cache = temporary_folder() / "cache";
    const Files cold = finish(options, images).files;
    CHECK(cold != fp32);
    CHECK(finish(options, images).files == cold);
    CHECK(finish(options, images, {.host = false, .deferred = true}).files == cold);
    options.cache = small_shards(options, images, 8);
    options.cache_size = 1;  // nothing is kept
    CHECK(finish(options, images).files == cold);
    CHECK(finish(options, images, {.host = false}).files == cold);
    options.cache_size = 0;
    options.cache = temporary_folder() / "cache";
    CHECK(finish(options, images, {.host = false, .deferred = true}).files == cold);
  }
  options.cache.clear();
  CHECK_THROWS_WITH_AS(finish(options, images), doctest::Contains("--cache"), InputError);
}

TEST_CASE("shards that are cut off, emptied, deleted or changed while a run reads them change nothing") {
  const FakeImages images(40);
  TrainOptions options = cached_options({});
  const Files expected = finish(options, images).files;
  options.max_memory = least_memory(images, options);
  const auto damage = [](const fs::path& path, int kind) {
    if (kind == 0) fs::remove(path);
    if (kind == 1) fs::resize_file(path, 4096 + 100);
    if (kind == 2) fs::resize_file(path, 0);
    if (kind == 3) flip_bit(path, 4096);
    if (kind == 4) write_file_atomically(path, std::string("something else"));
  };
  for (int kind = 0; kind < 5; ++kind) {
    for (const int64_t when : {int64_t{0}, int64_t{9}, int64_t{30}, int64_t{59}}) {
      CAPTURE(kind);
      CAPTURE(when);
      options.cache = small_shards(options, images, 8);
      finish(options, images);
      LogCapture log;
      TrainCallbacks callbacks;
      bool done = false;
      callbacks.progress = [&](const TrainProgress& progress) {
        if (done || progress.step < when) return;
        done = true;
        damage(options.cache / "a" / "00001.act", kind);
        damage(options.cache / "b" / "00003.act", kind);
      };
      const Outcome outcome = finish(options, images, {}, callbacks);
      CHECK(outcome.files == expected);
      CHECK(log.warnings().size() <= 2);  // one a file
      if (when < 30) {
        CHECK(log.warnings().size() == 2);
        CHECK(outcome.images_run > 0);
      }
      for (const std::string& warning : log.warnings()) CHECK(warning.find(".act'") != std::string::npos);
      log.warnings();
      CHECK(finish(options, images).files == expected);
    }
  }
}

TEST_CASE("a cache of another model, other photos or another precision is refused, and stays") {
  const FakeImages images(40);
  const TrainOptions options = cached_options(temporary_folder() / "cache");
  finish(options, images);
  Graph other = fake_graph();
  other.sha256 = "fedcba";
  TrainOptions again = options;
  again.out = temporary_folder() / "run";
  CHECK_THROWS_WITH_AS(run_job(again, images, {}, {}, other), doctest::Contains("(model: "), InputError);
  CHECK_THROWS_WITH_AS(run_job(again, FakeImages(41)), doctest::Contains("(images: "), InputError);
  CHECK_THROWS_WITH_AS(run_job(again, FakeImages(40, 2)), doctest::Contains("(images: "), InputError);
  again.forward_batch = 5;
  CHECK_THROWS_WITH_AS(run_job(again, images), doctest::Contains("(forward batch: "), InputError);
  CHECK_FALSE(fs::exists(again.out));
  CHECK(finish(options, images).images_run == 0);
}

TEST_CASE(
    "killed while it fills the cache: what is complete is used, the rest computed, the bytes the same") {
  const FakeImages images(40);
  TrainOptions options = cached_options({});
  const Files expected = finish(options, images).files;
  for (const int64_t readings : {1, 3, 5, 8}) {
    options.cache = small_shards(options, images, 8);
    options.out = temporary_folder() / "run";
    options.checkpoint_every = {4, 0};
    const pid_t child = ::fork();
    if (child == 0) {
      int64_t seen = 0;
      TrainCallbacks callbacks;
      callbacks.progress = [&](const TrainProgress& progress) {
        seen += progress.phase == TrainProgress::Phase::kReading;
        if (seen == readings) ::kill(::getpid(), SIGKILL);
      };
      run_job(options, images, callbacks);
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    REQUIRE(WIFSIGNALED(status));
    TrainOptions resumed = options;
    resumed.resume = true;
    const Outcome outcome = finish(resumed, images);
    CHECK(outcome.files == expected);
    if (readings > 1) CHECK(outcome.images_run < 40);
    CHECK(finish(options, images).images_run == 0);
  }
}

TEST_CASE("a disk that is full while the cache fills ends the caching, not the training") {
  const FakeImages images(40);
  TrainOptions options = cached_options({});
  const Files expected = finish(options, images).files;
  options.cache = small_shards(options, images, 64);
  options.out = temporary_folder() / "run";
  const pid_t child = ::fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{20'000, 20'000};  // above the largest file of a run, below a shard of 64 images
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const LogCapture log;
    run_job(options, images);
    const bool said = log.warnings().size() == 1 && log.mentions("is written to no more") &&
                      log.mentions("training goes on");
    ::_exit(said ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(result_files(options.out) == expected);
  CHECK(shards_in(options.cache).empty());
}

TEST_CASE("sampling by norm gives the same bytes wherever tokens come from, and others than uniform") {
  const FakeImages images(40);
  for (const std::vector<std::string>& taps : {std::vector<std::string>{"a", "b"}, {"c", "b"}}) {
    TrainOptions options = cached_options({});
    options.taps = taps;
    options.tokens = 30 * 24;
    options.positions_per_image = 3;
    const Files uniform = finish(options, images).files;
    options.sample = TokenSampling::kNorm;
    const Files expected = finish(options, images).files;
    CHECK(expected != uniform);
    for (const int64_t memory : {int64_t{0}, least_memory(images, options)}) {
      for (const FakeControl& control :
           {FakeControl{}, FakeControl{.host = false, .deferred = true},
            FakeControl{.host = false, .deferred = true, .memory_bytes = int64_t{1} << 22}}) {
        TrainOptions other = options;
        other.max_memory = control.host ? memory : 0;
        CHECK(finish(other, images, control).files == expected);
        other.cache = temporary_folder() / "cache";
        CHECK(finish(other, images, control).files == expected);
        CHECK(finish(other, images, control).files == expected);
      }
    }
    TrainOptions stopped = options;
    stopped.out = temporary_folder() / "run";
    run_job(stopped, images, stop_after(17));
    stopped.resume = true;
    CHECK(finish(stopped, images).files == expected);
    stopped.sample = TokenSampling::kUniform;
    CHECK_THROWS_WITH_AS(finish(stopped, images), doctest::Contains("--sample is"), InputError);
    // A tap alone draws what it draws among others.
    TrainOptions alone = options;
    alone.taps = {"b"};
    CHECK(finish(alone, images).files.at("b/sae.safetensors") == expected.at("b/sae.safetensors"));
  }
}
