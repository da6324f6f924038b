#pragma once
/// Latents that are near copies of each other: one observation, not several.
#include <cstdint>
#include <span>
#include <vector>

#include "engine/view.h"

namespace branchsae {

/// Connected components of `wanted` rows of decoder [n, d] (host) whose cosine is above `limit`: for each row
/// the lowest index of its cluster, its own when it stands alone, -1 for rows that are not wanted or zero.
/// Work n^2 d FLOP. Same answer for any number of threads.
std::vector<int32_t> decoder_clusters(View<const float, 2> decoder, std::span<const uint8_t> wanted,
                                      double limit, int threads);

struct ClusterCounts {
  int64_t clusters = 0;  ///< of two or more
  int64_t members = 0;   ///< rows in them
  int64_t largest = 0;
};
ClusterCounts count_clusters(std::span<const int32_t> cluster);

}  // namespace branchsae
