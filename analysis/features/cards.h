#pragma once
/// What is shown of some latents: images where they fire most, and at quantiles, with where on them.
#include <map>
#include <vector>

#include "analysis/features/code_pass.h"
#include "analysis/features/image_scores.h"
#include "analysis/matching/code_store.h"

namespace branchsae {

/// `count` live latents whose densities are spread evenly over those of all live ones, ascending: those of
/// ranks floor((i + 1/2) live / count) by density, ties by number. Knows nothing of labels, branches or
/// images, so that the choice cannot favour a claim. All live ones when there are no more than `count`.
std::vector<int64_t> evenly_by_density(const ImageScores& scores, size_t count);

/// Of the images on which a latent fires, by rising score: those of ranks floor((i + 1/2) images / count), i
/// = 0
/// .. count - 1; fewer when there are fewer images.
std::vector<ImageScore> at_quantiles(const LatentActivity& activity, size_t count);

/// One latent's pictures: what it did at every position of each.
struct FeatureCard {
  int64_t latent = 0;
  std::vector<ImageScore> top, quantiles;
};
FeatureCard make_card(const ImageScores& scores, int64_t latent, size_t crops);

/// z of chosen latents at every position of chosen images: [height * width] of the tap's grid.
class HeatMaps {
 public:
  /// The images of these cards.
  explicit HeatMaps(const std::vector<FeatureCard>& cards);
  /// Images that are wanted, ascending.
  std::vector<int64_t> images() const;
  void add(const CodeBatch& batch);
  /// The same of kept codes; images: which ones those are.
  void add(const CodeStore& codes, const std::vector<int64_t>& images);
  /// Zeros where the latent does not fire; empty for a pair that was not wanted, or whose image was not read.
  const std::vector<float>& of(int64_t latent, int64_t image) const;

 private:
  using ByLatent = std::map<int32_t, std::vector<float>>;
  /// The maps of an image, zeros; null when none is wanted.
  ByLatent* begin(int64_t image, int64_t positions);

  std::map<int64_t, ByLatent> maps_;  ///< by image
};

}  // namespace branchsae
