#include "apps/sweep_options.h"

#include <doctest/doctest.h>

#include <CLI/CLI.hpp>

#include "engine/error.h"
#include "model/sweep.h"

using namespace branchsae;
using namespace branchsae::apps;

namespace {

std::string refusal(const std::vector<std::string>& texts) {
  try {
    plan_sweep(texts);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a sweep is the grid of its values, however it was written") {
  const auto members = plan_sweep({"k=4,8", "lr=1e-3,auto"});
  REQUIRE(members.size() == 4);
  CHECK(members[0].name == "k=4,lr=1e-3");
  CHECK(members[1].name == "k=4,lr=auto");
  CHECK(members[3].name == "k=8,lr=auto");
  CHECK(members[0].changes == R"({"k":4,"lr":0.001})");
  CHECK(members[3].changes == R"({"k":8,"lr":0.0})");
  const auto same = plan_sweep({"k=4,8 lr=1e-3,auto"});
  REQUIRE(same.size() == 4);
  for (size_t i = 0; i < 4; ++i) {
    CHECK(same[i].name == members[i].name);
    CHECK(same[i].changes == members[i].changes);
  }
}

TEST_CASE("every key that may be varied is read as its option") {
  TrainOptions options;
  options.taps = {"a"};
  options.sweep = plan_sweep({"untied=yes,no", "dead-after=1M", "lr-schedule=cosine", "decoder-norm=unit",
                              "centre=geometric-median", "start-norm=0.3", "auxk=512", "aux-alpha=0.5",
                              "warmup=7", "expansion=8", "lr=2e-3", "k=5"});
  REQUIRE(options.sweep.size() == 2);
  CHECK(options.sweep[0].name.starts_with("untied=yes,dead-after=1M,"));
  check_options(options);
  const TrainOptions one = member_options(options, options.sweep[0]);
  CHECK_FALSE(one.tied);
  CHECK(member_options(options, options.sweep[1]).tied);
  CHECK(one.dead_after == 1'000'000);
  CHECK(one.schedule == LrSchedule::kCosine);
  CHECK(one.unit_norm);
  CHECK(one.centre == CentreStart::kGeometricMedian);
  CHECK(one.start_norm == 0.3);
  CHECK(one.aux_k == 512);
  CHECK(one.aux_alpha == 0.5);
  CHECK(one.warmup == 7);
  CHECK(one.expansion == 8);
  CHECK(one.learning_rate == 2e-3);
  CHECK(one.k == 5);
  CHECK(one.sweep.empty());
}

TEST_CASE("what is no sweep says why") {
  CHECK(contains(refusal({"tokens=1M,2M"}), "cannot vary 'tokens'"));
  CHECK(contains(refusal({"tokens=1M,2M"}), "k, expansion, lr"));
  CHECK(contains(refusal({"batch=64"}), "cannot vary 'batch'"));
  CHECK(contains(refusal({"nonsense=64"}), "cannot vary 'nonsense'"));
  CHECK(contains(refusal({"k=4,eight"}), "k: must be a whole number"));
  CHECK(contains(refusal({"lr=-1"}), "lr: must be auto or a number above 0"));
  CHECK(contains(refusal({"k"}), "KEY=VALUE"));
  CHECK(contains(refusal({"k="}), "KEY=VALUE"));
  CHECK(contains(refusal({"k=4,,8"}), "empty value"));
  CHECK(contains(refusal({"k=4", "k=8"}), "'k' twice"));
  CHECK(contains(refusal({"  "}), "KEY=VALUE"));
  std::string many = "k=1";
  for (int i = 2; i <= 300; ++i) many += "," + std::to_string(i);
  CHECK(contains(refusal({many}), "more than 256"));
}
