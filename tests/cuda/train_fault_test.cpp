// The training job on the emulated CUDA runtime, at its worst: streams that stand still until somebody waits,
// and memory that ends anywhere.
#include <doctest/doctest.h>

#include "engine/error.h"
#include "tests/emulator/runtime.h"
#include "tests/emulator/settings.h"
#include "tests/model/train_fixture.h"
#include "tests/test_data.h"

using namespace branchsae;
using namespace branchsae::test;
namespace fs = std::filesystem;

namespace {

TrainOptions brief_options() {
  TrainOptions options = small_options(temporary_folder() / "run");
  options.tokens = 9 * options.batch;
  return options;
}

/// Sets the streams' mode for a scope.
struct Deferred {
  Deferred() { emulator::settings().defer = true; }
  ~Deferred() { emulator::settings().defer = false; }
};

}  // namespace

TEST_CASE("streams that do nothing until somebody waits for them give the same bytes") {
  FakeImages images(40);
  images.unreadable[5] = "broken";
  for (const std::vector<std::string>& taps : {std::vector<std::string>{"a", "b"}, {"c", "b"}}) {
    TrainOptions options = small_options(temporary_folder() / "run");
    options.taps = taps;
    options.tokens = 30 * options.batch;  // longer than an epoch of "c": its activations come from the cache
    run_job_on(Device::cuda(0), options, images);
    TrainOptions late = options;
    late.out = temporary_folder() / "run";
    const Deferred deferred;
    run_job_on(Device::cuda(0), late, images);
    CHECK(result_files(late.out) == result_files(options.out));
  }
}

TEST_CASE(
    "memory that ends at any allocation is one line with an option that helps, and the next job works") {
  const FakeImages images(40);
  const TrainOptions whole = brief_options();
  run_job_on(Device::cuda(0), whole, images);
  const auto expected = result_files(whole.out);
  const int64_t allocations = emulator::live_allocations();
  int failures = 0;
  for (int failing = 1;; ++failing) {
    CAPTURE(failing);
    const TrainOptions options = brief_options();
    emulator::fail_allocation(failing);
    try {
      run_job_on(Device::cuda(0), options, images);
    } catch (const MemoryError& error) {
      ++failures;
      const std::string message = error.what();
      CAPTURE(message);
      CHECK(message.find('\n') == std::string::npos);
      CHECK(message.find("MiB") != std::string::npos);
      CHECK(message.find(" --") != std::string::npos);
      CHECK(emulator::live_allocations() == allocations);
      if (fs::exists(options.out / "checkpoint.json")) {  // it was the evaluation's turn
        TrainOptions resumed = options;
        resumed.resume = true;
        run_job_on(Device::cuda(0), resumed, images);
        CHECK(result_files(options.out) == expected);
      } else {
        CHECK_FALSE(fs::exists(options.out));
      }
      continue;
    }
    // Done without it, or it was never reached: in both cases the same bytes.
    CHECK(result_files(options.out) == expected);
    emulator::fail_allocation(0);
    if (failures > 0 && failing > failures + 8) break;
  }
  CHECK(failures > 8);
  const TrainOptions again = brief_options();
  run_job_on(Device::cuda(0), again, images);
  CHECK(result_files(again.out) == expected);
}
