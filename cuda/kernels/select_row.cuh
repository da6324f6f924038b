#pragma once
// A warp selects the k largest > 0 of a row in memory, for any k: by bisection on the bit patterns of
// positive floats, which are ordered like the floats. Every step reads the row again (from L1 or L2).
// Order    exact; ties go to the earlier element; written in the order of the elements
#include "cuda/arch/warp.cuh"
#include "cuda/sae/sae_desc.h"

namespace branchsae::cuda {

template <class T>
BRANCHSAE_DEVICE T warp_max(T value) {
#pragma unroll
  for (int mask = kWarp / 2; mask > 0; mask /= 2) value = max(value, shuffle_xor(value, mask));
  return value;
}

/// Row: `int32_t count`, `float value(int32_t i)`, `int32_t index(int32_t i)` (the latent). The lanes of a
/// warp work on one row.
template <class Row>
class RowSelection {
 public:
  /// Finds what is kept.
  BRANCHSAE_DEVICE RowSelection(const Row& row, int32_t k) : row_(row), k_(k) {
    int32_t top = 0;
    for (int32_t i = lane_id(); i < row.count; i += kWarp) {
      const float value = row.value(i);
      if (is_nan(value)) flags_ |= kSawNan;
      if (value > 0) top = max(top, static_cast<int32_t>(as_uint(value)));
    }
    if (!is_finite(as_float(static_cast<uint32_t>(top)))) flags_ |= kSawInf;
    int32_t low = 0, high = warp_max(top), above_low = count_above(0), above_high = 0;
    while (above_low > k && high - low > 1) {
      const int32_t middle = low + (high - low) / 2;
      const int32_t above = count_above(middle);
      if (above >= k) {
        low = middle;
        above_low = above;
      } else {
        high = middle;
        above_high = above;
      }
    }
    // More than k: those above `high`, and of those that equal it the first.
    above_ = as_float(static_cast<uint32_t>(above_low > k ? high : low));
    ties_ = above_low > k ? k - above_high : 0;
  }

  /// values, indices: of this row
  BRANCHSAE_DEVICE void write(float* values, int32_t* indices) const {
    const uint32_t lower_lanes = (1U << lane_id()) - 1;
    int32_t place = 0, ties = 0;
    for (int32_t first = 0; first < row_.count; first += kWarp) {
      const int32_t i = first + lane_id();
      const float value = i < row_.count ? row_.value(i) : 0.0F;
      const uint32_t equal = ballot(value == above_ && ties_ > 0);
      const bool kept = value > above_ || (value == above_ && ties + count_bits(equal & lower_lanes) < ties_);
      const uint32_t all_kept = ballot(kept);
      if (kept) {
        const int32_t at = place + count_bits(all_kept & lower_lanes);
        values[at] = value;
        indices[at] = row_.index(i);
      }
      ties += count_bits(equal);
      place += count_bits(all_kept);
    }
    for (int32_t at = place + lane_id(); at < k_; at += kWarp) {
      values[at] = 0.0F;
      indices[at] = -1;
    }
  }
  /// kSawNan, kSawInf: what this lane met.
  BRANCHSAE_DEVICE uint32_t flags() const { return flags_; }

 private:
  BRANCHSAE_DEVICE int32_t count_above(int32_t low) const {
    const float limit = as_float(static_cast<uint32_t>(low));
    int32_t count = 0;
    for (int32_t i = lane_id(); i < row_.count; i += kWarp) count += row_.value(i) > limit ? 1 : 0;
    return warp_sum(count);
  }

  const Row& row_;
  int32_t k_;
  float above_;
  int32_t ties_;
  uint32_t flags_ = 0;
};

}  // namespace branchsae::cuda
