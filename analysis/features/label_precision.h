#pragma once
/// Do labels hold on images that they were not found on?
#include "analysis/features/enrichment.h"

namespace branchsae {

/// Every other labelled image finds the labels (enrichment.h), the rest tests them: of a latent's N = min(50,
/// active) best images there, the share under its label's synset.
struct LabelPrecision {
  int64_t labelled_images = 0;  ///< in both halves together
  int64_t labels = 0;           ///< latents with a label on the first half that also fire on the second
  double precision = 0;         ///< mean over these of that share; NaN without any
  double chance = 0;  ///< mean over these of the synset's share of the second half's labelled images
};

LabelPrecision label_precision(const ImageScores& scores, const ImageSynsets& labels);

}  // namespace branchsae
