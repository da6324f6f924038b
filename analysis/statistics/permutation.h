#pragma once
/// Significance by permutation, within strata.
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace branchsae {

/// Units that may change places with each other.
class Strata {
 public:
  /// key [n] to `groups` groups of nearly equal size by ascending key (deciles: 10); ties stay in the order
  /// of their index.
  static Strata by_quantile(std::span<const double> key, int64_t groups);
  /// All in one.
  static Strata whole(int64_t n);
  int64_t size() const { return size_; }
  const std::vector<std::vector<int64_t>>& groups() const { return groups_; }

 private:
  std::vector<std::vector<int64_t>> groups_;
  int64_t size_ = 0;
};

struct PermutationTest {
  double statistic = 0;  ///< of the data as they are
  double p = 1;          ///< (1 + #{permuted >= statistic}) / (1 + rounds), one-sided
  double null_mean = 0, null_sd = 0;
  int64_t rounds = 0;
};

/// order [n]: each unit becomes another one of its stratum. Same seed and round, same order. Source: Fisher
/// and Yates 1938.
void shuffle_within(const Strata& strata, uint64_t seed, int64_t round, std::span<int64_t> order);

/// The test of a statistic whose permuted values are known.
PermutationTest summarise_permutations(double statistic, std::span<const double> permuted);

/// statistic(order): of the data with unit i's value taken from unit order[i]. Same seed, same result.
/// Source: Phipson and Smyth 2010 for the added one.
PermutationTest permutation_test(const Strata& strata, int64_t rounds, uint64_t seed,
                                 const std::function<double(std::span<const int64_t> order)>& statistic);

/// Several statistics of the same rearrangements: statistics(order, values) fills values [count]. One test
/// each; with count = 1 the same as permutation_test.
std::vector<PermutationTest> permutation_tests(
    const Strata& strata, int64_t rounds, uint64_t seed, size_t count,
    const std::function<void(std::span<const int64_t> order, std::span<double> values)>& statistics);

}  // namespace branchsae
