#include "analysis/statistics/permutation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/error.h"
#include "engine/random.h"

namespace branchsae {
namespace {

/// What the rounds said about one statistic.
class NullSums {
 public:
  explicit NullSums(double statistic) : statistic_(statistic) {}

  void add(double value) {
    reached_ += value >= statistic_ ? 1 : 0;
    sum_ += value;
    squares_ += (value - statistic_) * (value - statistic_);
  }
  PermutationTest test(int64_t rounds) const {
    const auto count = static_cast<double>(rounds);
    const double offset = sum_ / count - statistic_;  // sums around the statistic lose no digits
    return {statistic_, (1 + static_cast<double>(reached_)) / (1 + count), sum_ / count,
            std::sqrt(std::max(0.0, squares_ / count - offset * offset)), rounds};
  }

 private:
  double statistic_, sum_ = 0, squares_ = 0;
  int64_t reached_ = 0;
};

}  // namespace

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

void shuffle_within(const Strata& strata, uint64_t seed, int64_t round, std::span<int64_t> order) {
  Random random(seed, static_cast<uint64_t>(round));
  std::vector<int64_t> shuffled;
  for (const std::vector<int64_t>& group : strata.groups()) {
    shuffled = group;
    for (size_t i = shuffled.size(); i > 1; --i) std::swap(shuffled[i - 1], shuffled[random.below(i)]);
    for (size_t i = 0; i < group.size(); ++i) order[static_cast<size_t>(group[i])] = shuffled[i];
  }
}

PermutationTest summarise_permutations(double statistic, std::span<const double> permuted) {
  NullSums null(statistic);
  for (const double value : permuted) null.add(value);
  return null.test(std::ssize(permuted));
}

PermutationTest permutation_test(const Strata& strata, int64_t rounds, uint64_t seed,
                                 const std::function<double(std::span<const int64_t> order)>& statistic) {
  const auto one = [&](std::span<const int64_t> order, std::span<double> values) {
    values[0] = statistic(order);
  };
  return permutation_tests(strata, rounds, seed, 1, one).front();
}

std::vector<PermutationTest> permutation_tests(
    const Strata& strata, int64_t rounds, uint64_t seed, size_t count,
    const std::function<void(std::span<const int64_t> order, std::span<double> values)>& statistics) {
  if (rounds < 1) throw InputError(fmt::format("{} permutations: it must be at least 1", rounds));
  std::vector<int64_t> order(static_cast<size_t>(strata.size()));
  std::iota(order.begin(), order.end(), int64_t{0});
  std::vector<double> values(count);
  statistics(order, values);
  std::vector<NullSums> nulls;
  for (double value : values) nulls.emplace_back(value);
  for (int64_t round = 0; round < rounds; ++round) {
    shuffle_within(strata, seed, round, order);
    statistics(order, values);
    for (size_t i = 0; i < count; ++i) nulls[i].add(values[i]);
  }
  std::vector<PermutationTest> tests;
  for (const NullSums& null : nulls) tests.push_back(null.test(rounds));
  return tests;
}

}  // namespace branchsae
