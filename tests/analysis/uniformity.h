#pragma once
/// Whether p-values are uniform, as they are where there is nothing to find.
#include <algorithm>
#include <cmath>
#include <vector>

namespace branchsae::test {

/// Largest distance of the sorted p from the uniform distribution, times sqrt(n): Kolmogorov's statistic.
inline double distance_from_uniform(std::vector<double> p) {
  std::ranges::sort(p);
  const auto n = static_cast<double>(p.size());
  double most = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    most = std::max(
        {most, std::abs(p[i] - static_cast<double>(i) / n), std::abs(p[i] - static_cast<double>(i + 1) / n)});
  }
  return most * std::sqrt(n);
}

}  // namespace branchsae::test
