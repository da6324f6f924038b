#pragma once
/// Latents of two autoencoders paired by similarity, and whether pairs keep their branch.
#include <cstdint>
#include <span>
#include <vector>

#include "analysis/statistics/counts.h"
#include "analysis/statistics/permutation.h"
#include "analysis/statistics/ranks.h"
#include "engine/view.h"

namespace branchsae {

struct LatentPair {
  int32_t a = 0, b = 0;
  float similarity = 0;
};

/// Pairs that are each other's best, above `threshold`; by ascending a. similarity [n_a, n_b]; ties to the
/// lower index; NaN never wins.
std::vector<LatentPair> mutual_best(View<const float, 2> similarity, float threshold);

/// One-to-one pairs of the largest total similarity, at most min(n_a, n_b), those at or below `threshold`
/// left out; by ascending a. O(min^2 max) time. Source: Kuhn 1955; Jonker and Volgenant 1987 for the shortest
/// augmenting paths. Throws InputError for NaN.
std::vector<LatentPair> one_to_one(View<const float, 2> similarity, float threshold);

/// The q-quantile of all entries of rows and columns that are `live`; NaN when there is none.
double similarity_quantile(View<const float, 2> similarity, std::span<const uint8_t> live_a,
                           std::span<const uint8_t> live_b, double q);

/// One side's branches.
struct BranchProfile {
  std::vector<int32_t> dominant;  ///< [n], -1 for none
  std::vector<double> share;      ///< [n] decoder energy in the branch asked about
  std::vector<double> density;    ///< [n] of firing: strata of the permutation
};

struct BranchAgreement {
  int64_t pairs = 0;
  FourFold in_branch;  ///< a dominated by the branch x b dominated by it
  OddsRatio odds;
  FisherExact fisher;
  CountTable table;  ///< [branches][branches] of dominant branches
  double kappa = 0;
  ChiSquare chi;
  Correlation shares;    ///< Spearman of the two sides' shares
  PermutationTest same;  ///< number of pairs of one dominant branch
};

/// branch: number of the one that is asked about; branches: how many there are. The null of `same` exchanges
/// branch profiles among b's paired latents of one density decile.
BranchAgreement branch_agreement(std::span<const LatentPair> pairs, const BranchProfile& a,
                                 const BranchProfile& b, int32_t branch, int32_t branches, int64_t rounds,
                                 uint64_t seed);

}  // namespace branchsae
