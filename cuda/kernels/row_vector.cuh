#pragma once
// What kernels on rows share: 16 bytes of a row as floats, and sums over lanes that split a vector among
// them.
#include "cuda/arch/types.cuh"
#include "cuda/arch/warp.cuh"

namespace branchsae::cuda {

/// Elements in 16 bytes.
template <class T>
constexpr int kVector = 16 / static_cast<int>(sizeof(T));

template <class T>
BRANCHSAE_DEVICE uint4 load_vector(const T* from) {
  return load_read_only(reinterpret_cast<const uint4*>(from));
}
template <class T>
BRANCHSAE_DEVICE void store_vector(T* to, uint4 value) {
  *reinterpret_cast<uint4*>(to) = value;
}

BRANCHSAE_DEVICE void unpack(uint4 raw, float (&v)[8]) {
  v[0] = low_bf16(raw.x), v[1] = high_bf16(raw.x);
  v[2] = low_bf16(raw.y), v[3] = high_bf16(raw.y);
  v[4] = low_bf16(raw.z), v[5] = high_bf16(raw.z);
  v[6] = low_bf16(raw.w), v[7] = high_bf16(raw.w);
}
BRANCHSAE_DEVICE void unpack(uint4 raw, float (&v)[4]) {
  v[0] = as_float(raw.x), v[1] = as_float(raw.y), v[2] = as_float(raw.z), v[3] = as_float(raw.w);
}
BRANCHSAE_DEVICE uint4 pack(const float (&v)[8]) {
  return make_uint4(pack_bf16(v[0], v[1]), pack_bf16(v[2], v[3]), pack_bf16(v[4], v[5]),
                    pack_bf16(v[6], v[7]));
}
BRANCHSAE_DEVICE uint4 pack(const float (&v)[4]) {
  return make_uint4(as_uint(v[0]), as_uint(v[1]), as_uint(v[2]), as_uint(v[3]));
}

/// Adds the vectors of the two lanes that differ in bit `mask`: the lane without it keeps the first half of
/// the sum, the other the second half; in v[0 .. kCount / 2). A third of the shuffles that whole sums would
/// take.
template <int kCount, int kSize>
BRANCHSAE_DEVICE void add_halves(float (&v)[kSize], int mask) {
  const bool upper = (lane_id() & mask) != 0;
#pragma unroll
  for (int i = 0; i < kCount / 2; ++i) {
    const float keep = upper ? v[i + kCount / 2] : v[i];
    const float give = upper ? v[i] : v[i + kCount / 2];
    v[i] = keep + shuffle_xor(give, mask);
  }
}

}  // namespace branchsae::cuda
