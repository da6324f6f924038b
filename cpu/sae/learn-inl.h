// Decode and gradient of one token in one go, for rows that fit the registers. Included once for each
// instruction set.
#if defined(BRANCHSAE_CPU_SAE_LEARN_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BRANCHSAE_CPU_SAE_LEARN_INL_H_
#undef BRANCHSAE_CPU_SAE_LEARN_INL_H_
#else
#define BRANCHSAE_CPU_SAE_LEARN_INL_H_
#endif

#include <algorithm>

#include "cpu/sae/decode-inl.h"
#include "cpu/sae/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace branchsae::cpu::HWY_NAMESPACE {

// r = sum_i z_i W_i + base_sign * base; the gradient's rows come from L2 meanwhile.
template <int kVectors>
HWY_INLINE void decode_narrow(const LearnToken& a, V* HWY_RESTRICT r) {
  constexpr int64_t kWidth = kVectors * kN;
  const D d;
  const DecodeToken& t = a.decode;
  V odd[kVectors];
  BRANCHSAE_UNROLL
  for (int v = 0; v < kVectors; ++v) r[v] = odd[v] = hn::Zero(d);
  int64_t i = 0;
  for (; i + 2 <= t.count; i += 2) {
    const int64_t one = t.indices[i] * kWidth, two = t.indices[i + 1] * kWidth;
    BRANCHSAE_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      __builtin_prefetch(a.rows + one + v * kN, 1, 3);
      __builtin_prefetch(a.rows + two + v * kN, 1, 3);
    }
    add_row<kVectors>(t.rows + one, t.z[i], r);
    add_row<kVectors>(t.rows + two, t.z[i + 1], odd);
  }
  if (i < t.count) add_row<kVectors>(t.rows + t.indices[i] * kWidth, t.z[i], r);
  const V sign = hn::Set(d, t.base_sign);
  BRANCHSAE_UNROLL
  for (int v = 0; v < kVectors; ++v)
    r[v] = hn::MulAdd(sign, hn::Load(d, t.base + v * kN), hn::Add(r[v], odd[v]));
}

// W_i . r of kN rows; those beyond the count repeat the first.
template <int kVectors>
HWY_INLINE V dot_narrow(const DecodeToken& t, int64_t first, const V* HWY_RESTRICT r) {
  constexpr int64_t kWidth = kVectors * kN;
  int32_t padded[kN];
  const int32_t* indices = t.indices + first;
  if (first + kN > t.count) {
    std::fill_n(padded, kN, indices[0]);
    std::copy_n(indices, t.count - first, padded);
    indices = padded;
  }
  return sum_fours([&](int64_t four) HWY_ATTR {
    const D d;
    V sums[4];
    BRANCHSAE_UNROLL
    for (int q = 0; q < 4; ++q) {
      const float* row = t.rows + indices[four + q] * kWidth;
      sums[q] = hn::Zero(d);
      BRANCHSAE_UNROLL
      for (int v = 0; v < kVectors; ++v) sums[q] = hn::MulAdd(hn::Load(d, row + v * kN), r[v], sums[q]);
    }
    return sum_four(sums[0], sums[1], sums[2], sums[3]);
  });
}

template <int kVectors>
HWY_INLINE float learn_narrow(const LearnToken& a) {
  constexpr int64_t kWidth = kVectors * kN;
  const D d;
  const DecodeToken& t = a.decode;
  V r[kVectors], xc[kVectors];
  decode_narrow<kVectors>(a, r);
  V squares = hn::Zero(d);
  BRANCHSAE_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    squares = hn::MulAdd(r[v], r[v], squares);
    hn::Store(r[v], d, t.r + v * kN);
    if (t.r_sums != nullptr) hn::Store(hn::Add(hn::Load(d, t.r_sums + v * kN), r[v]), d, t.r_sums + v * kN);
    xc[v] = hn::Load(d, a.xc + v * kN);
  }
  const V factor = hn::Set(d, a.factor);
  float* HWY_RESTRICT gradient = a.rows;
  float* HWY_RESTRICT b_enc = a.b_enc;
  const int32_t* HWY_RESTRICT indices = t.indices;
  const float* HWY_RESTRICT z = t.z;
  const int64_t count = t.count;
  for (int64_t first = 0; first < count; first += kN) {
    alignas(64) float g[kN];
    hn::Store(hn::Mul(factor, dot_narrow<kVectors>(t, first, r)), d, g);
    const int64_t some = std::min<int64_t>(kN, count - first);
    for (int64_t i = 0; i < some; ++i) {
      const int64_t latent = indices[first + i];
      float* row = gradient + latent * kWidth;
      const V z_i = hn::Set(d, a.factor * z[first + i]), g_i = hn::Set(d, g[i]);
      b_enc[latent] += g[i];
      BRANCHSAE_UNROLL
      for (int v = 0; v < kVectors; ++v)
        hn::Store(hn::MulAdd(z_i, r[v], hn::MulAdd(g_i, xc[v], hn::Load(d, row + v * kN))), d, row + v * kN);
    }
  }
  return sum_of_lanes(squares);
}

float learn_token(const LearnToken& a) {
  switch (a.decode.d_padded / kN) {
    case 1:
      return learn_narrow<1>(a);
    case 2:
      return learn_narrow<2>(a);
    case 3:
      return learn_narrow<3>(a);
    default:
      return learn_narrow<4>(a);
  }
}

}  // namespace branchsae::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
