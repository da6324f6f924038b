#include "model/timings.h"

#include <doctest/doctest.h>

#include <set>
#include <vector>

#include "model/run.h"
#include "tests/model/train_fixture.h"
#include "tests/test_data.h"

using namespace branchsae;
using namespace branchsae::test;

namespace {

double sum_of(const TrainTimings& timings) {
  double sum = 0;
  for (const auto& [name, seconds] : timed_parts(timings)) {
    CHECK(seconds >= 0);
    sum += seconds;
  }
  return sum;
}

}  // namespace

TEST_CASE("every part has a name of its own, and the total is none") {
  TrainTimings timings;
  std::set<std::string> names;
  double value = 1;
  for (const auto& [name, field] : timing_fields(timings)) {
    CHECK(names.insert(name).second);
    *field = value;
    value *= 2;
  }
  CHECK(names.contains("decode_gradient"));
  CHECK(timings.setup == 1);
  CHECK(sum_of(timings) == value - 1 - timings.total - timings.image_decoding);
}

TEST_CASE("the parts of a job add up to its time, on either kind of device") {
  const FakeImages images(40);
  for (const bool host : {true, false}) {
    TrainOptions options = small_options(temporary_folder() / "run");
    options.checkpoint_every = {3, 0};
    const TrainTimings timings = run_job(options, images, {}, {.host = host}).timings;
    CHECK(timings.total > 0);
    CHECK(sum_of(timings) == doctest::Approx(timings.total).epsilon(1e-6));
    for (const double part :
         {timings.setup, timings.forward, timings.step, timings.checkpoint, timings.evaluation})
      CHECK(part > 0);
    CHECK(timings.encode == 0);  // the fake does not tell its parts apart
    CHECK(timings.peak_memory_bytes == doctest::Approx(static_cast<double>(peak_memory())).epsilon(0.2));
    const TrainTimings recorded = read_run(options.out).timings;
    CHECK(recorded.forward == timings.forward);
    CHECK(recorded.evaluation == timings.evaluation);
  }
}

TEST_CASE("the peak of memory is that of the process, and never falls") {
  const int64_t before = peak_memory();
  CHECK(before > 1 << 20);
  {
    const std::vector<char> large(size_t{64} << 20, 1);
    CHECK(large[large.size() / 2] == 1);
  }
  CHECK(peak_memory() >= before + (int64_t{48} << 20));
}
