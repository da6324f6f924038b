#pragma once
/// Null distributions of many statistics from the same permutations: all of them are made of sums of a weight
/// times a value that changes places.
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "analysis/statistics/permutation.h"
#include "engine/view.h"

namespace branchsae {

/// The sums sum_i weight_i * profile(order[i], c) for the columns c in [begin, end).
struct PermutedWeight {
  std::vector<double> weight;  ///< [units]; zeros cost nothing
  int64_t begin = 0, end = 0;
};

class PermutedSums {
 public:
  /// profiles [units, columns]: a unit's row moves as one, within its stratum. Round r shuffles as round r -
  /// 1 of permutation_test() with the same seed. Same bytes for any number of threads. Throws InputError
  /// (rounds below 1), ShapeError (weights, profiles and strata of different lengths, columns beyond).
  PermutedSums(const Strata& strata, View<const double, 2> profiles, std::span<const PermutedWeight> weights,
               int64_t rounds, uint64_t seed, int threads);

  int64_t rounds() const { return rounds_; }
  /// Sum of a weight with one of its columns, counted from its begin. round 0: the data as they are;
  /// 1..rounds(): permuted.
  double at(int64_t round, size_t weight, int64_t column) const {
    return sums_[static_cast<size_t>(round * width_ + first_[weight] + column)];
  }
  /// The test of a statistic made of these sums; value(0) is that of the data.
  PermutationTest test(const std::function<double(int64_t round)>& value) const;

 private:
  int64_t rounds_, width_ = 0;
  std::vector<int64_t> first_;  ///< of each weight's sums in a round
  std::vector<double> sums_;    ///< [rounds + 1, width]
};

}  // namespace branchsae
