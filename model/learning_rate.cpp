#include "model/learning_rate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "engine/error.h"

namespace branchsae {
namespace {

constexpr double kDecayShare = 0.2;

double warmup_factor(const LrPlan& plan, int64_t step) {
  int64_t steps = plan.warmup;
  if (plan.total_steps > 0) steps = std::min(steps, plan.total_steps / 5);
  return steps > 0 ? std::min(1.0, static_cast<double>(step) / static_cast<double>(steps)) : 1.0;
}

double schedule_factor(const LrPlan& plan, int64_t step) {
  if (plan.total_steps <= 0 || plan.schedule == LrSchedule::kConstant) return 1.0;
  const auto total = static_cast<double>(plan.total_steps);
  const double left = total - static_cast<double>(step - 1);  // steps from this one to the end
  if (left <= 0) return 0.0;
  if (plan.schedule == LrSchedule::kCosine) {
    return 0.5 * (1.0 + std::cos(std::numbers::pi * (total - left) / total));
  }
  return std::min(1.0, left / std::max(1.0, std::round(kDecayShare * total)));
}

}  // namespace

std::string to_string(LrSchedule schedule) {
  switch (schedule) {
    case LrSchedule::kLinear:
      return "linear";
    case LrSchedule::kCosine:
      return "cosine";
    case LrSchedule::kConstant:
      return "constant";
  }
  return "linear";
}

LrSchedule parse_lr_schedule(std::string_view text) {
  for (LrSchedule schedule : {LrSchedule::kLinear, LrSchedule::kCosine, LrSchedule::kConstant}) {
    if (text == to_string(schedule)) return schedule;
  }
  throw InputError(
      fmt::format("no learning-rate schedule is called '{}'; give linear, cosine or constant", text));
}

double auto_learning_rate(int64_t d, int64_t steps) {
  constexpr double kNarrowRate = 2.5e-2, kNarrowWidth = 64;  // docs/training.md
  constexpr double kSteps = 733, kLengthExponent = 1.1;      // the steps of the jobs they were measured on
  const double by_width = std::min(1.0, kNarrowWidth / static_cast<double>(d));
  // How far rows travel decides how many latents end up too rare to fire: a longer job takes smaller steps.
  const double by_length =
      steps > 0 ? std::min(1.0, std::pow(kSteps / static_cast<double>(steps), kLengthExponent)) : 1.0;
  return kNarrowRate * by_width * by_length;
}

double learning_rate_at(const LrPlan& plan, int64_t step) {
  return plan.peak * warmup_factor(plan, step) * schedule_factor(plan, step);
}

}  // namespace branchsae
