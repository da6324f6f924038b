#pragma once
/// How a latent's response changes when its top images do.
#include <optional>

#include "analysis/features/image_scores.h"

namespace branchsae {

/// Images of most score that are looked at.
inline constexpr size_t kResponseTop = 50;

/// 1 - sum S(grey x) / sum S(x) over the original's top images: 1 when the response needs colour, 0 when grey
/// does as well, below 0 when grey does better. Unset for a silent latent.
std::optional<double> colour_index(const LatentActivity& original, const LatentActivity& grey);

/// sum (S(x) - S(mirrored x)) / sum (S(x) + S(mirrored x)) over the original's top images: 0 when the mirror
/// makes no difference, 1 when the response is gone there. Unset for a silent latent.
std::optional<double> orientation_index(const LatentActivity& original, const LatentActivity& mirrored);

}  // namespace branchsae
