#pragma once
/// Learning rates of the trainer.
#include <cstdint>
#include <string>
#include <string_view>

namespace branchsae {

enum class LrSchedule { kLinear, kCosine, kConstant };

/// "linear", "cosine", "constant". parse throws InputError for another name.
std::string to_string(LrSchedule schedule);
LrSchedule parse_lr_schedule(std::string_view text);

/// What `--lr auto` uses for tokens of width d and a job of `steps` steps (0: unknown, as for a short one).
/// How it was found: docs/training.md.
double auto_learning_rate(int64_t d, int64_t steps);

struct LrPlan {
  double peak = 1e-3;
  LrSchedule schedule = LrSchedule::kLinear;
  int64_t warmup = 50;      ///< steps; at most a fifth of total_steps counts
  int64_t total_steps = 0;  ///< 0: unknown, the rate stays at its peak after the warm-up
};

/// Rate of step 1, 2, ... total_steps. Warm-up: peak * step / warmup. Then
///   linear    the peak, falling in a straight line over the last 20 % of the steps (the last step gets one
///   part
///             in as many)
///   cosine    peak * (1 + cos(pi (step - 1) / total_steps)) / 2, with the warm-up's factor
///   constant  the peak
double learning_rate_at(const LrPlan& plan, int64_t step);

}  // namespace branchsae
