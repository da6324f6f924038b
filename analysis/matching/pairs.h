#pragma once
/// Which latents of two autoencoders go together.
#include <span>
#include <vector>

#include "analysis/matching/assignment.h"
#include "analysis/matching/similarity.h"

namespace branchsae {

struct PairSearch {
  std::vector<LatentPair> mutual;      ///< each other's best, above the threshold; by ascending a
  std::vector<LatentPair> candidates;  ///< all pairs above it; by a, then b
  std::vector<float> watched;          ///< r of the pairs asked for, in their order
};

/// One pass over all r. Ties go to the lower latent. threshold: NaN finds nothing. watched: pairs whose r is
/// wanted whatever it is, by ascending a, each a once.
PairSearch find_pairs(const LatentSimilarity& similarity, int threads, double threshold,
                      std::span<const LatentPair> watched = {});

/// The middle one of some r, the upper of two; NaN of none.
double median_similarity(std::vector<float> r);

}  // namespace branchsae
