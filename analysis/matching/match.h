#pragma once
/// Features of two autoencoders paired by what they respond to, or by the weights between them: do pairs keep
/// their branch? Similarities: Pearson's r of the codes over the same (image, position); r of mean scores per
/// class; virtual weights. Pairs: mutual best, and one-to-one of largest total, both above a quantile of the
/// same similarity with the images of one side shuffled, of weights with its channels shuffled.
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "analysis/matching/agreement.h"
#include "analysis/matching/code_store.h"
#include "analysis/matching/pairs.h"
#include "analysis/matching/virtual_weights.h"

namespace branchsae {

/// One autoencoder: its codes of the images, and where its latents lie.
struct MatchSide {
  const CodeStore* codes = nullptr;
  BranchProfile profile;
  BranchProfile random;  ///< random_profile() of the same tap: the control
};

/// What latents are compared by, as results name it.
inline constexpr const char* kByCorrelation = "correlation";
inline constexpr const char* kByClassProfile = "class profile";
inline constexpr const char* kByVirtualWeight = "virtual weight";

struct MatchOptions {
  std::vector<std::string> similarities = {kByCorrelation, kByClassProfile, kByVirtualWeight};
  double quantile = 0.999;  ///< of the shuffled null, the threshold
  int64_t rounds = 10000;   ///< of permutations
  uint64_t seed = 0;
  int threads = 1;
};

struct Pairing {
  std::string name;  ///< "mutual best", "one to one"
  std::vector<LatentPair> pairs = {};
  std::optional<Agreement> agreement = {}, random = {};          ///< unset where branches cannot be compared
  std::optional<Agreement> enriched = {}, random_enriched = {};  ///< the same by_enrichment()
};

/// Pairs found on the images of even number, tried on those of odd number.
struct SplitHalves {
  double threshold_even = 0, threshold_odd = 0;
  std::vector<LatentPair> matched;     ///< mutual best on the even images
  std::vector<float> held_out;         ///< their similarity on the odd ones
  std::vector<LatentPair> hold;        ///< those above the odd images' own threshold, with that similarity
  int64_t still_best = 0;              ///< mutual best on the odd images too
  std::optional<Agreement> agreement;  ///< of those that hold
};

struct SimilarityMatch {
  std::string name;          ///< one of those above
  std::string skipped = {};  ///< why it could not be computed; then nothing below is set
  double threshold = 0;
  int64_t above = 0;  ///< pairs above it, of all live ones
  std::vector<Pairing> pairings = {};
  std::optional<SplitHalves> halves = {};  ///< unset where no image is read
  /// Of virtual weights, where pairs and branches come from the same rows: whether mutual best pairs by
  /// shuffled channels, which keep those rows' branches, agree too.
  std::optional<Agreement> shuffled = {};
};

struct MatchResult {
  int64_t images = 0, tokens = 0, labelled = 0, classes = 0;
  int64_t live_a = 0, live_b = 0;  ///< latents that fired
  std::string no_agreement = {};   ///< why branches are not compared; empty when they are
  std::vector<SimilarityMatch> similarities = {};
};

/// Two halves of two images each.
inline constexpr int64_t kLeastMatchImages = 4;

/// class_of [images]: number of each image's class, -1 for none; empty: no labels. weights: of a's latents on
/// b's. Same seed, same result for any number of threads. Throws InputError when the sides saw different
/// images or fewer than kLeastMatchImages, ShapeError for classes or weights of other sizes.
MatchResult match_codes(const MatchSide& a, const MatchSide& b, std::span<const int32_t> class_of,
                        const VirtualWeights& weights, const MatchOptions& options);

}  // namespace branchsae
