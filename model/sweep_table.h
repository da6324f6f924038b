#pragma once
/// RUN/sweep.csv: what became of a sweep's members.
#include <string>

#include "model/train.h"

namespace branchsae::model {

/// A line a member and tap: member, status, tap, k, n, d, learning rate, figures of the training's last log
/// line and of the held-out images (empty where there are none). Separated by commas, the member's name
/// quoted.
std::string sweep_csv(const TrainResult& result);

}  // namespace branchsae::model
