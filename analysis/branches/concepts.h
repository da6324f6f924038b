#pragma once
/// Which units (latents, neurons) respond to animals, dogs, colour ...: decided from what they did on images
/// alone, never from where their decoder lies.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "analysis/features/enrichment.h"
#include "analysis/features/image_scores.h"
#include "analysis/features/selectivity.h"

namespace branchsae {

struct UnitConcept {
  std::string name;                    ///< "animal"
  std::string how;                     ///< the rule, with its limits
  std::string score_name;              ///< what `score` is: "AUROC"
  std::vector<uint8_t> positive = {};  ///< [units]
  std::vector<double> score = {};      ///< [units] without a threshold; NaN for silent units
  int64_t positives = 0;
};

/// Units that fired on any image.
std::vector<uint8_t> live_units(const ImageScores& scores);

/// Positive: AUROC of the image scores for the concept above 0.5 with Benjamini-Hochberg q < 0.05 over the
/// live units. Score: the AUROC.
UnitConcept selective_units(const ImageScores& scores, const Concept& concept_images, int threads);

/// The WordNet label of every unit, -1 where it has none (enrichment.h).
std::vector<int32_t> unit_labels(const ImageScores& scores, const ImageSynsets& labels, int threads);
/// Positive: the unit's label is the synset or below it. Score: share of its up to 50 top labelled images
/// that are.
UnitConcept labelled_units(const ImageScores& scores, const std::vector<int32_t>& unit_label,
                           const Concept& concept_images, std::string_view wordnet_id, int threads = 1);

/// Positive: colour index (responses.h) of at least `limit`: 0.5 says that half of the response is gone in
/// grey. Score: the index.
UnitConcept coloured_units(const ImageScores& original, const ImageScores& grey, double limit,
                           int threads = 1);
/// Positive: orientation index of at least `limit`: 0.5 says that the mirror image gets a third of the
/// response. Score: the index.
UnitConcept oriented_units(const ImageScores& original, const ImageScores& mirrored, double limit,
                           int threads = 1);

}  // namespace branchsae
