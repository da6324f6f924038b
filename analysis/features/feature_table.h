#pragma once
/// One row a latent: everything that `features` says of it.
#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "analysis/features/enrichment.h"
#include "analysis/features/image_scores.h"
#include "analysis/features/selectivity.h"
#include "engine/view.h"

namespace branchsae {

struct FeatureNeighbour {
  int32_t latent = 0;
  float cosine = 0;
};

/// Files with a latent's pictures, relative to features.json; empty where none were made.
struct FeaturePictures {
  std::string sheet;
  std::vector<ImageScore> quantiles;                        ///< images at quantiles of the score, rising
  std::vector<std::string> top_crops, top_heats;            ///< by FeatureRow::top
  std::vector<std::string> quantile_crops, quantile_heats;  ///< by quantiles
};

struct FeatureRow {
  int64_t latent = 0;
  double density = 0;                                ///< share of tokens on which it fires
  double image_density = 0;                          ///< share of images
  double max = 0, mean = 0;                          ///< of z where it fires; 0 for a silent latent
  std::map<std::string, Selectivity> concepts = {};  ///< "animal", "dog"; empty without labels
  std::optional<LatentLabel> label = {};
  std::optional<double> entropy = {}, colour_index = {}, orientation = {};
  ValueHistogram histogram = {};
  std::vector<ImageScore> top = {};
  FeaturePictures pictures = {};
  std::vector<FeatureNeighbour> neighbours = {};  ///< nearest decoder rows, by falling cosine
};

struct FeatureTable {
  std::vector<FeatureRow> rows = {};  ///< by latent
  int64_t images = 0, tokens = 0, labelled = 0;
  std::array<int64_t, 2> grid{};
  std::string no_labels = {};  ///< why the label columns are empty; empty when they are not
};

/// What else is known of the same images; null where it was not measured.
struct FeatureVariants {
  const ImageScores* grey = nullptr;
  const ImageScores* mirrored = nullptr;
};

/// labels: null when the images have none. top: images listed a latent.
FeatureTable feature_table(const ImageScores& scores, std::array<int64_t, 2> grid, const ImageSynsets* labels,
                           const FeatureVariants& variants, size_t top = 10);

/// Sets every row's nearest decoder rows; decoder [n, d] on the host. Zero rows have no neighbours.
void add_neighbours(FeatureTable& table, View<const float, 2> decoder, size_t count = 5, int threads = 1);

}  // namespace branchsae
