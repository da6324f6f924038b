#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "cpu/sae/half_tasks.h"
#include "cpu/sae/partial_plan.h"
#include "engine/random.h"

using namespace branchsae;
using namespace branchsae::cpu;

namespace {

struct Running {
  PartialPlan::Part part;
  int thread;
};

/// The sum that threads come to who take and finish parts in a random order, written out.
std::string sum_of(int threads, Random& random) {
  PartialPlan plan;
  plan.start();
  std::vector<std::string> slots(kPartials, "left over");
  std::vector<Running> running;
  std::vector<int> idle;
  for (int thread = 0; thread < threads; ++thread) idle.push_back(thread);
  while (!idle.empty() || !running.empty()) {
    const bool take = running.empty() || (!idle.empty() && random.below(2) == 0);
    if (take) {
      const auto place = static_cast<std::ptrdiff_t>(random.below(idle.size()));
      const int thread = idle[static_cast<size_t>(place)];
      idle.erase(idle.begin() + place);
      if (const auto part = plan.take(thread)) {
        slots[static_cast<size_t>(part->slot)] = std::to_string(part->number);
        running.push_back({*part, thread});
      }
      continue;
    }
    const auto place = static_cast<std::ptrdiff_t>(random.below(running.size()));
    const auto [part, thread] = running[static_cast<size_t>(place)];
    running.erase(running.begin() + place);
    auto& first = slots[static_cast<size_t>(part.first_slot())];
    if (part.merge) first = "(" + first + "+" + slots[static_cast<size_t>(part.slot)] + ")";
    plan.finish(part, thread);
    idle.push_back(thread);
  }
  std::string halves[2];
  for (int64_t half = 0; half < 2; ++half) {
    for (const int32_t slot : plan.slots(half)) {
      std::string& sum = halves[half];
      sum = sum.empty() ? slots[static_cast<size_t>(slot)]
                        : "(" + sum + "+" + slots[static_cast<size_t>(slot)] + ")";
    }
  }
  return halves[0] + "+" + halves[1];
}

}  // namespace

TEST_CASE("parts add up in one order, whatever the threads and whoever is first") {
  Random random(3, 0);
  for (const int threads : {1, 2, 3, 4, 5, 8, 11}) {
    for (int run = 0; run < 300; ++run) {
      CAPTURE(threads);
      CHECK(sum_of(threads, random) == "((((0+1)+2)+3)+4)+((((5+6)+7)+8)+9)");
    }
  }
}

TEST_CASE("the parts are all tiles once, and the last of a half are small") {
  for (const int64_t tiles : {0, 1, 2, 3, 7, 10, 16, 43, 86, 1000}) {
    CAPTURE(tiles);
    CHECK(PartialPlan::first_tile(0, tiles) == 0);
    CHECK(PartialPlan::first_tile(kPartials, tiles) == tiles);
    for (int64_t i = 0; i < kPartials; ++i)
      CHECK(PartialPlan::first_tile(i, tiles) <= PartialPlan::first_tile(i + 1, tiles));
  }
  const auto size = [](int64_t i) {
    return PartialPlan::first_tile(i + 1, 320) - PartialPlan::first_tile(i, 320);
  };
  for (int64_t i = 0; i < kPartials; ++i) {
    CHECK(size(i) > 0);
    if (i % PartialPlan::kParts > 0) CHECK(size(i) <= size(i - 1));
  }
  CHECK(PartialPlan::first_tile(PartialPlan::kParts, 320) == 160);
}

TEST_CASE("one thread needs two buffers a half") {
  PartialPlan plan;
  plan.start();
  while (const auto part = plan.take(0)) {
    CHECK(part->slot % PartialPlan::kParts == std::min<int64_t>(part->number % PartialPlan::kParts, 1));
    CHECK(part->merge == (part->number % PartialPlan::kParts > 0));
    plan.finish(*part, 0);
  }
  CHECK(plan.slots(0).size() == 1);
  CHECK(plan.slots(1).size() == 1);
}

TEST_CASE("threads of two halves do not meet before one is done") {
  PartialPlan plan;
  plan.start();
  for (int64_t i = 0; i < PartialPlan::kParts; ++i) {
    for (const int thread : {0, 1}) {
      const auto part = plan.take(thread);
      REQUIRE(part);
      CHECK(part->number == thread * PartialPlan::kParts + i);
      plan.finish(*part, thread);
    }
  }
  CHECK_FALSE(plan.take(0));
  CHECK_FALSE(plan.take(1));
}

TEST_CASE("threads take the tasks of their half first, and all tasks once") {
  HalfTasks tasks;
  for (int run = 0; run < 2; ++run) {
    tasks.start(3, 2);
    std::vector<std::string> taken;
    for (const int thread : {2, 1, 1, 1, 0, 3, 5, 4}) {
      const auto task = tasks.take(thread);
      taken.push_back(task ? std::to_string(task->half) + ":" + std::to_string(task->number) : "none");
    }
    CHECK(taken == std::vector<std::string>{"0:0", "1:0", "1:1", "0:1", "0:2", "none", "none", "none"});
  }
  tasks.start(0, 1);
  CHECK(tasks.take(0)->half == 1);
  CHECK_FALSE(tasks.take(0));
}
