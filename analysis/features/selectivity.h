#pragma once
/// How a latent's image scores follow a concept (animal, dog, ...) and the classes.
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "analysis/features/image_scores.h"
#include "analysis/features/labels.h"
#include "analysis/statistics/ranks.h"

namespace branchsae {

/// The images that show something, among those whose label is known.
struct Concept {
  std::string name;            ///< "animal"
  std::vector<uint8_t> known;  ///< [images] the label is known
  std::vector<uint8_t> shown;  ///< [images] and it is one
  int64_t known_count = 0, shown_count = 0;
};

/// Images at or below a synset.
Concept concept_below(const ImageSynsets& labels, std::string_view wordnet_id, std::string name);

struct Selectivity {
  RankComparison ranks;  ///< AUROC of S_i for the concept; images where the latent is silent tie at 0
  double r = 0;          ///< point-biserial; NaN for a latent that never or always scores the same
  double lift = 0;       ///< P(shown | S_i > 0) / P(shown); NaN for a silent latent
  double top_share = 0;  ///< of the known among the 50 highest-scoring images; NaN for a silent latent
  double q = 1;          ///< set by adjust()
};

/// Share of the images shown among the unit's 50 highest-scoring ones of known label; NaN when it has none.
double top_share(const LatentActivity& activity, const Concept& concept_images);

/// The statistical unit is the image. Formulas: analysis/statistics/ranks.h.
Selectivity selectivity(const LatentActivity& activity, const Concept& concept_images);

/// Benjamini-Hochberg q of ranks.p over the live latents; silent ones (no image) keep q = 1 and do not count.
void adjust(std::vector<Selectivity>& of_latents, const ImageScores& scores);

/// Entropy, in bits, of p_c ~ sum over images x of class c of S_i(x). Unset when no labelled image has a
/// score. Source: github.com/HugoFry/mats_sae_training_for_ViTs.
std::optional<double> label_entropy(const LatentActivity& activity, const ImageSynsets& labels);

}  // namespace branchsae
