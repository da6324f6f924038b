#include "analysis/statistics/permutation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/error.h"
#include "engine/random.h"

namespace branchsae {

Strata Strata::by_quantile(std::span<const double> key, int64_t groups) {
  if (groups < 1) throw InputError(fmt::format("{} strata: it must be at least 1", groups));
  std::vector<int64_t> order(key.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  std::ranges::stable_sort(order, {}, [key](int64_t i) { return key[static_cast<size_t>(i)]; });
  Strata strata;
  strata.size_ = static_cast<int64_t>(key.size());
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t begin = g * strata.size_ / groups, end = (g + 1) * strata.size_ / groups;
    if (begin < end) strata.groups_.emplace_back(order.begin() + begin, order.begin() + end);
  }
  return strata;
}

Strata Strata::whole(int64_t n) {
  return by_quantile(std::vector<double>(static_cast<size_t>(n)), 1);
}

PermutationTest permutation_test(const Strata& strata, int64_t rounds, uint64_t seed,
                                 const std::function<double(std::span<const int64_t> order)>& statistic) {
  if (rounds < 1) throw InputError(fmt::format("{} permutations: it must be at least 1", rounds));
  std::vector<int64_t> order(static_cast<size_t>(strata.size()));
  std::iota(order.begin(), order.end(), int64_t{0});
  PermutationTest result{.statistic = statistic(order), .rounds = rounds};
  double sum = 0, squares = 0;
  int64_t reached = 0;
  for (int64_t round = 0; round < rounds; ++round) {
    Random random(seed, static_cast<uint64_t>(round));
    for (const std::vector<int64_t>& group : strata.groups()) {
      std::vector<int64_t> shuffled = group;
      for (size_t i = shuffled.size(); i > 1; --i) std::swap(shuffled[i - 1], shuffled[random.below(i)]);
      for (size_t i = 0; i < group.size(); ++i) order[static_cast<size_t>(group[i])] = shuffled[i];
    }
    const double value = statistic(order);
    reached += value >= result.statistic ? 1 : 0;
    sum += value;
    squares += (value - result.statistic) * (value - result.statistic);
  }
  const auto count = static_cast<double>(rounds);
  const double offset = sum / count - result.statistic;  // sums around the statistic lose no digits
  result.null_mean = sum / count;
  result.null_sd = std::sqrt(std::max(0.0, squares / count - offset * offset));
  result.p = (1 + static_cast<double>(reached)) / (1 + count);
  return result;
}

}  // namespace branchsae
