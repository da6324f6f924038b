#pragma once
/// What `features` prints of one scan.
#include <optional>
#include <string>

#include "analysis/features/feature_table.h"
#include "analysis/features/label_precision.h"
#include "apps/output.h"

namespace branchsae::apps {

struct FeatureSummary {
  std::string tap;
  int64_t k = 0;
  double input_l0 = 0;
  const FeatureTable* table = nullptr;
  std::optional<LabelPrecision> precision = {};  ///< unset without labels
};

/// Live latents, densities, labels, the most selective latents.
std::string summary_text(const FeatureSummary& summary);
Json summary_json(const FeatureSummary& summary);
Json precision_json(const LabelPrecision& precision);

}  // namespace branchsae::apps
