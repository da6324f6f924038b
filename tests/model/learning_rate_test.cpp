#include "model/learning_rate.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/error.h"
#include "model/image_split.h"

using namespace branchsae;

// Rates are products and quotients of a few doubles: exact but for the last bits.
static doctest::Approx near(double value) {
  return doctest::Approx(value).epsilon(1e-12);
}

TEST_CASE("linear: warm-up, plateau, straight line over the last fifth") {
  const LrPlan plan{.peak = 2.0, .schedule = LrSchedule::kLinear, .warmup = 10, .total_steps = 100};
  CHECK(learning_rate_at(plan, 1) == near(0.2));
  CHECK(learning_rate_at(plan, 10) == near(2.0));
  CHECK(learning_rate_at(plan, 50) == near(2.0));
  CHECK(learning_rate_at(plan, 81) == near(2.0));
  CHECK(learning_rate_at(plan, 82) == near(2.0 * 19 / 20));
  CHECK(learning_rate_at(plan, 91) == near(1.0));
  CHECK(learning_rate_at(plan, 100) == near(0.1));
}

TEST_CASE("cosine falls from the peak towards nothing") {
  const LrPlan plan{.peak = 1.0, .schedule = LrSchedule::kCosine, .warmup = 0, .total_steps = 100};
  CHECK(learning_rate_at(plan, 1) == near(1.0));
  CHECK(learning_rate_at(plan, 51) == near(0.5));
  CHECK(learning_rate_at(plan, 26) == near(0.5 * (1 + std::sqrt(0.5))));
  CHECK(learning_rate_at(plan, 100) > 0);
  CHECK(learning_rate_at(plan, 100) < 1e-3);
}

TEST_CASE("constant only warms up, and so does a job of unknown length") {
  for (const LrPlan& plan :
       {LrPlan{1.0, LrSchedule::kConstant, 4, 100}, LrPlan{1.0, LrSchedule::kLinear, 4, 0}}) {
    CHECK(learning_rate_at(plan, 1) == near(0.25));
    CHECK(learning_rate_at(plan, 4) == near(1.0));
    CHECK(learning_rate_at(plan, 100) == near(1.0));
  }
}

TEST_CASE("a short job reaches its peak: the warm-up takes at most a fifth") {
  const LrPlan plan{.peak = 1.0, .schedule = LrSchedule::kLinear, .warmup = 50, .total_steps = 10};
  CHECK(learning_rate_at(plan, 1) == near(0.5));
  CHECK(learning_rate_at(plan, 2) == near(1.0));
  CHECK(learning_rate_at(plan, 10) == near(0.5));
  const LrPlan single{.peak = 1.0, .schedule = LrSchedule::kLinear, .warmup = 50, .total_steps = 1};
  CHECK(learning_rate_at(single, 1) == near(1.0));
}

TEST_CASE("names of schedules go both ways, others are refused") {
  for (const char* name : {"linear", "cosine", "constant"}) CHECK(to_string(parse_lr_schedule(name)) == name);
  CHECK_THROWS_AS(parse_lr_schedule("exponential"), InputError);
}

TEST_CASE("the automatic rate is positive and does not rise with the width or the length") {
  double last = 1;
  for (int64_t d : {1, 16, 48, 64, 128, 256, 528, 832, 4096}) {
    const double rate = auto_learning_rate(d, 700);
    CHECK(rate > 0);
    CHECK(rate <= last);
    last = rate;
    CHECK(auto_learning_rate(d, 0) == rate);
    CHECK(auto_learning_rate(d, 1) == rate);
    // In a long job the rate times the steps falls slowly.
    const double share = auto_learning_rate(d, 10'000) * 10'000 / (auto_learning_rate(d, 5'000) * 5'000);
    CHECK(share < 1);
    CHECK(share > 0.9);
    CHECK(auto_learning_rate(d, 10'000) < 0.1 * rate);
  }
}

TEST_CASE("the automatic rate of the jobs that it was measured on") {
  CHECK(auto_learning_rate(48, 733) == near(0.025));
  CHECK(auto_learning_rate(128, 733) == near(0.0125));
  CHECK(auto_learning_rate(64, 4883) == doctest::Approx(0.0031).epsilon(0.01));
}

TEST_CASE("held out is every m-th image") {
  const ImageSplit split = split_images(25, 0.1);
  CHECK(split.held_out == std::vector<int64_t>{9, 19});
  CHECK(split.train.size() == 23);
  CHECK(split_images(1000, 0.1).held_out.size() == 100);
  CHECK(split_images(9, 0.34).held_out == std::vector<int64_t>{2, 5, 8});
  CHECK(split_images(9, 0.5).train == std::vector<int64_t>{0, 2, 4, 6, 8});
  CHECK(split_images(5, 0).train.size() == 5);
  CHECK(split_images(5, 0.1).held_out.empty());
  for (double wrong : {-0.1, 0.7, 1.0, 2.0, std::nan("")})
    CHECK_THROWS_AS(split_images(5, wrong), InputError);
}
