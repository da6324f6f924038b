#include "apps/image_variance.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace branchsae::apps {

void ImageVariance::add(View<const float, 2> tokens) {
  const auto channels = static_cast<size_t>(tokens.shape[1]);
  std::vector<double> mean(channels, 0.0);
  for (int64_t row = 0; row < tokens.shape[0]; ++row) {
    const float* token = tokens.row(row);
    for (size_t c = 0; c < channels; ++c)
      mean[c] += static_cast<double>(token[static_cast<int64_t>(c) * tokens.stride[1]]);
  }
  sum_.resize(channels, 0.0);
  squares_.resize(channels, 0.0);
  for (size_t c = 0; c < channels; ++c) {
    mean[c] /= static_cast<double>(std::max<int64_t>(tokens.shape[0], 1));
    sum_[c] += mean[c];
    squares_[c] += mean[c] * mean[c];
  }
  ++images_;
}

double ImageVariance::ratio() const {
  const auto count = static_cast<double>(images_);
  double energy = 0, variance = 0;
  for (size_t c = 0; c < sum_.size(); ++c) {
    energy += squares_[c] / count;
    variance += std::max(0.0, squares_[c] - sum_[c] * sum_[c] / count) / (count - 1);
  }
  if (images_ < 2 || !(energy > 0)) return std::numeric_limits<double>::quiet_NaN();
  return variance / energy;
}

}  // namespace branchsae::apps
