#pragma once
// Sums over sorted pairs: one 128-byte (bf16) or 256-byte (float) piece of ex holds 32 channels of e, then of
// xc; the lanes of its first half weigh theirs with z, those of its second half with g.
#include "cuda/kernels/row_vector.cuh"
#include "cuda/sae/sae_desc.h"

namespace branchsae::cuda {

/// Lanes that share a piece of ex, and those of its half.
template <class T>
constexpr int kPieceLanes = 2 * kSlice / kVector<T>;
template <class T>
constexpr int kHalfLanes = kSlice / kVector<T>;

BRANCHSAE_DEVICE Pair load_pair(const Pair* from) {
  const uint4 raw = load_read_only(reinterpret_cast<const uint4*>(from));
  return {static_cast<int32_t>(raw.x), static_cast<int32_t>(raw.y), as_float(raw.z), as_float(raw.w)};
}

/// This lane is in the half of xc.
template <class T>
BRANCHSAE_DEVICE bool in_encoder_half() {
  return lane_id() % kPieceLanes<T> >= kHalfLanes<T>;
}

template <class T>
BRANCHSAE_DEVICE void add_pair(const Pair& pair, uint4 raw, float (&sum)[kVector<T>]) {
  const float weight = in_encoder_half<T>() ? pair.g : pair.z;
  float values[kVector<T>];
  unpack(raw, values);
#pragma unroll
  for (int i = 0; i < kVector<T>; ++i) sum[i] = fma(weight, values[i], sum[i]);
}

}  // namespace branchsae::cuda
