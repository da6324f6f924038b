#pragma once
/// What `train --plot` draws.
#include <string>

#include "model/train.h"

namespace branchsae::model {

/// RUN/<tap>/loss.svg: loss and FVU of the training batches against tokens, from the lines of metrics.jsonl.
/// On log axes where all values are above 0. Empty when there is no line.
std::string loss_plot(const std::string& tap, const std::string& metrics_lines);

/// RUN/<tap>/density.svg: how many latents are active on which share of the held-out tokens; those that never
/// are, in words.
std::string density_plot(const std::string& tap, const SaeMetrics& metrics);

/// RUN/sweep.svg: held-out FVU of every tap against the first key that has several values, a curve for each
/// combination of the others. Empty when no member has been evaluated.
std::string sweep_plot(const TrainResult& result);

}  // namespace branchsae::model
