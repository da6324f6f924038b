#pragma once
/// features.json and features.csv.
#include <string>

#include "analysis/features/feature_table.h"
#include "engine/images.h"

namespace branchsae {

/// features.json: one object with `features`, one entry a latent: id, density, max, mean, auroc, q, r, lift
/// (of animals), concepts, label, entropy, colour_index, orientation, histogram, top, quantiles, sheet,
/// neighbours (docs/features.md). `about`: a JSON object merged in at the top: hashes, options, seed.
std::string features_json(const FeatureTable& table, const ImageSource& images, const std::string& about);
/// The same as comma-separated values, one line a latent, quoted as RFC 4180 says.
std::string features_csv(const FeatureTable& table);

}  // namespace branchsae
