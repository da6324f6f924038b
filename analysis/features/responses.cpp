#include "analysis/features/responses.h"

#include <algorithm>

namespace branchsae {
namespace {

struct Response {
  double original = 0, changed = 0;
};

double score_of(const LatentActivity& activity, int32_t image) {
  const auto found = std::ranges::lower_bound(activity.images, image, {}, &ImageScore::image);
  return found != activity.images.end() && found->image == image ? static_cast<double>(found->max) : 0;
}

Response response(const LatentActivity& original, const LatentActivity& changed) {
  Response sums;
  for (const ImageScore& score : original.top(kResponseTop)) {
    sums.original += static_cast<double>(score.max);
    sums.changed += score_of(changed, score.image);
  }
  return sums;
}

}  // namespace

std::optional<double> colour_index(const LatentActivity& original, const LatentActivity& grey) {
  const Response sums = response(original, grey);
  if (sums.original == 0) return std::nullopt;
  return 1 - sums.changed / sums.original;
}

std::optional<double> orientation_index(const LatentActivity& original, const LatentActivity& mirrored) {
  const Response sums = response(original, mirrored);
  if (sums.original == 0) return std::nullopt;
  return (sums.original - sums.changed) / (sums.original + sums.changed);
}

}  // namespace branchsae
