#pragma once
/// What a latent's top images have in common.
#include <optional>
#include <string>
#include <vector>

#include "analysis/features/image_scores.h"
#include "analysis/features/labels.h"
#include "analysis/statistics/counts.h"

namespace branchsae {

/// The name given to a latent.
struct LatentLabel {
  int32_t synset = -1;
  std::string wordnet_id, name;
  int64_t hits = 0;        ///< k: of the top images, under the synset
  int64_t top = 0;         ///< N: top labelled images looked at
  int64_t images = 0;      ///< K: under the synset of all
  double p = 1, q = 1;     ///< hypergeometric tail; Benjamini-Hochberg over the latent's tested synsets
  double information = 0;  ///< -ln(K / M)
};

struct EnrichmentOptions {
  int64_t top = 50;          ///< images at most
  int64_t least_images = 5;  ///< synsets with fewer are not tested
  double q = 0.05, least_share = 0.5;
};

/// Reused over all latents of one set of images.
class Enrichment {
 public:
  Enrichment(const ImageSynsets& labels, const EnrichmentOptions& options);

  /// Of the N = min(top, active) highest-scoring labelled images, k lie under synset v: p is the
  /// hypergeometric tail P(>= k of N; K_v of M). Of the synsets with q below the limit and k / N of at least
  /// half, the one of most information; ties to the smaller p, then to the lower number. Unset when none is.
  std::optional<LatentLabel> label(const LatentActivity& activity) const;
  /// Synsets with enough images.
  int64_t tested() const { return tested_; }

 private:
  const ImageSynsets& labels_;
  EnrichmentOptions options_;
  LogFactorials factorials_;
  int64_t tested_ = 0;
};

}  // namespace branchsae
