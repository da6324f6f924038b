#pragma once
/// RUN/<tap>/metrics.jsonl: a line of JSON per log step.
#include <filesystem>

#include "engine/sae.h"
#include "model/train.h"

namespace branchsae::model {

/// Sums of several steps, as a line reports them.
struct StepSums {
  int64_t tokens = 0;
  double squared_error = 0, total_variance = 0, active = 0;
  int64_t dead = 0;
  void add(const SaeStats& stats);
  /// `n`: latents.
  TapProgress progress(const std::string& tap, int64_t n, double learning_rate) const;
};

/// No file is kept open: a sweep has hundreds of logs.
class MetricsLog {
 public:
  /// Keeps the lines of steps up to `last_step`, drops the rest and whatever is cut off.
  MetricsLog(std::filesystem::path path, int64_t last_step);
  /// Throws IoError.
  void append(int64_t step, int64_t tokens, const TapProgress& progress, double tokens_per_second);

 private:
  std::filesystem::path path_;
};

}  // namespace branchsae::model
