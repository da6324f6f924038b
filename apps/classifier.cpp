#include "apps/classifier.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace branchsae::apps {
std::vector<double> softmax(std::span<const float> logits) {
  double most = -std::numeric_limits<double>::infinity();
  for (const float x : logits) most = std::max(most, static_cast<double>(x));
  std::vector<double> shares;
  shares.reserve(logits.size());
  double sum = 0;
  for (const float x : logits) sum += shares.emplace_back(std::exp(static_cast<double>(x) - most));
  for (double& share : shares) share /= sum;
  return shares;
}

std::vector<int64_t> largest(std::span<const double> values, int64_t k) {
  std::vector<int64_t> order(values.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  const auto rank = [&](int64_t i) {
    const double value = values[static_cast<size_t>(i)];
    return std::isnan(value) ? -std::numeric_limits<double>::infinity() : value;
  };
  const auto count = std::min(static_cast<size_t>(k), order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<int64_t>(count), order.end(),
                    [&](int64_t a, int64_t b) { return rank(a) != rank(b) ? rank(a) > rank(b) : a < b; });
  order.resize(count);
  return order;
}

}  // namespace branchsae::apps
