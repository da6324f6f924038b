#include "model/image_split.h"

#include <fmt/format.h>

#include <cmath>

#include "engine/error.h"

namespace branchsae {
namespace {

int64_t held_out_every(double holdout) {
  if (holdout == 0) return 0;
  const double every = std::isfinite(holdout) && holdout > 0 ? std::round(1.0 / holdout) : 0.0;
  if (every < 2 || every > 1e15) {
    throw InputError(fmt::format(
        "holdout must be 0 or a share that leaves images to train on, such as 0.1; not {}", holdout));
  }
  return static_cast<int64_t>(every);
}

}  // namespace

ImageSplit split_images(int64_t count, double holdout) {
  const int64_t every = held_out_every(holdout);
  ImageSplit split;
  for (int64_t i = 0; i < count; ++i) {
    const bool held_out = every > 0 && i % every == every - 1;
    (held_out ? split.held_out : split.train).push_back(i);
  }
  return split;
}

}  // namespace branchsae
