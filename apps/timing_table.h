#pragma once
/// Where a training job's time went, for people.
#include <string>

#include "model/timings.h"

namespace branchsae::apps {

/// A line a part that took any time, with its share of the whole; then what ran beside it, and the memory.
std::string timing_text(const TrainTimings& timings);

}  // namespace branchsae::apps
