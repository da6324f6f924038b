// Decode and gradient of a tile's tokens in one go, for rows that fit the registers. Included once for each
// instruction set.
//
// While the rows of one token's gradient are loaded, changed and stored, the next token is decoded: either
// alone would wait for its own results most of the time.
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

// What is selected of one token.
struct Picked {
  const float* z;
  const int32_t* indices;
  int64_t count;
};

HWY_INLINE Picked picked(const LearnTile& a, int64_t t) {
  const Selection& s = a.selection;
  if (t >= a.rows) return {};
  return {s.values + t * s.stride, s.indices + t * s.stride, s.counts[t]};
}

// W_i . r of kN rows; those beyond the count repeat the first.
template <int kVectors>
HWY_INLINE V dot_narrow(const LearnTile& a, const Picked& p, int64_t first, const V* HWY_RESTRICT r) {
  constexpr int64_t kWidth = kVectors * kN;
  int32_t padded[kN];
  const int32_t* indices = p.indices + first;
  if (first + kN > p.count) {
    std::fill_n(padded, kN, indices[0]);
    std::copy_n(indices, p.count - first, padded);
    indices = padded;
  }
  return sum_fours([&](int64_t four) HWY_ATTR {
    const D d;
    V sums[4];
    BRANCHSAE_UNROLL
    for (int q = 0; q < 4; ++q) {
      const float* row = a.weights + indices[four + q] * kWidth;
      sums[q] = hn::Zero(d);
      BRANCHSAE_UNROLL
      for (int v = 0; v < kVectors; ++v) sums[q] = hn::MulAdd(hn::Load(d, row + v * kN), r[v], sums[q]);
    }
    return sum_four(sums[0], sums[1], sums[2], sums[3]);
  });
}

// Sums of even and of odd rows: each addition to one sum would wait for the one before.
template <int kVectors>
struct Residual {
  V even[kVectors], odd[kVectors];
};

template <int kVectors>
HWY_INLINE void clear(Residual<kVectors>& r) {
  BRANCHSAE_UNROLL
  for (int v = 0; v < kVectors; ++v) r.even[v] = r.odd[v] = hn::Zero(D());
}

// Adds z_i W_i; the gradient's row comes from L2 meanwhile.
template <int kVectors>
HWY_INLINE void decode_row(const LearnTile& a, const Picked& p, int64_t i, V* HWY_RESTRICT sums) {
  const int64_t begin = p.indices[i] * kVectors * kN;
  BRANCHSAE_UNROLL
  for (int v = 0; v < kVectors; ++v) __builtin_prefetch(a.gradient + begin + v * kN, 1, 3);
  add_row<kVectors>(a.weights + begin, p.z[i], sums);
}

template <int kVectors>
HWY_INLINE void decode_rows(const LearnTile& a, const Picked& p, int64_t from, Residual<kVectors>& r) {
  for (int64_t i = from; i < p.count; ++i) decode_row<kVectors>(a, p, i, i % 2 == 0 ? r.even : r.odd);
}

// The residual, its square, and g_i = factor W_i . r.
template <int kVectors>
HWY_INLINE float finish_residual(const LearnTile& a, const Picked& p, int64_t t,
                                 const Residual<kVectors>& sums, V* HWY_RESTRICT r) {
  const D d;
  const float* base = a.base + t * a.x_stride;
  const V sign = hn::Set(d, a.base_sign);
  V squares = hn::Zero(d);
  BRANCHSAE_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    r[v] = hn::MulAdd(sign, hn::Load(d, base + v * kN), hn::Add(sums.even[v], sums.odd[v]));
    squares = hn::MulAdd(r[v], r[v], squares);
    hn::Store(r[v], d, a.r + t * a.x_stride + v * kN);
    if (a.r_sums != nullptr) hn::Store(hn::Add(hn::Load(d, a.r_sums + v * kN), r[v]), d, a.r_sums + v * kN);
  }
  const V factor = hn::Set(d, a.factor);
  for (int64_t first = 0; first < p.count; first += kN)
    hn::Store(hn::Mul(factor, dot_narrow<kVectors>(a, p, first, r)), d, a.g + first);
  return sum_of_lanes(squares);
}

// The gradient's row gets factor z_i r + g_i xc.
template <int kVectors>
HWY_INLINE void add_to_gradient(const LearnTile& a, const Picked& p, int64_t i, const V* HWY_RESTRICT r,
                                const V* HWY_RESTRICT xc) {
  const D d;
  const int64_t latent = p.indices[i];
  float* HWY_RESTRICT row = a.gradient + latent * kVectors * kN;
  const V z = hn::Set(d, a.factor * p.z[i]), g = hn::Set(d, a.g[i]);
  a.b_enc[latent] += a.g[i];
  if (a.fired != nullptr) a.fired[latent] = 1;
  BRANCHSAE_UNROLL
  for (int v = 0; v < kVectors; ++v)
    hn::Store(hn::MulAdd(z, r[v], hn::MulAdd(g, xc[v], hn::Load(d, row + v * kN))), d, row + v * kN);
}

template <int kVectors>
HWY_INLINE double learn(const LearnTile& a) {
  const D d;
  double squares = 0;
  Picked now = picked(a, 0);
  Residual<kVectors> sums;
  clear(sums);
  decode_rows(a, now, 0, sums);
  for (int64_t t = 0; t < a.rows; ++t) {
    V r[kVectors], xc[kVectors];
    squares += static_cast<double>(finish_residual(a, now, t, sums, r));
    BRANCHSAE_UNROLL
    for (int v = 0; v < kVectors; ++v) xc[v] = hn::Load(d, a.xc + t * a.x_stride + v * kN);
    const Picked next = picked(a, t + 1);
    clear(sums);
    int64_t i = 0;
    for (; i + 2 <= std::min(now.count, next.count); i += 2) {
      decode_row<kVectors>(a, next, i, sums.even);
      add_to_gradient<kVectors>(a, now, i, r, xc);
      decode_row<kVectors>(a, next, i + 1, sums.odd);
      add_to_gradient<kVectors>(a, now, i + 1, r, xc);
    }
    decode_rows(a, next, i, sums);
    for (; i < now.count; ++i) add_to_gradient<kVectors>(a, now, i, r, xc);
    now = next;
  }
  return squares;
}

double learn_tile(const LearnTile& a) {
  switch (a.d_padded / kN) {
    case 1:
      return learn<1>(a);
    case 2:
      return learn<2>(a);
    case 3:
      return learn<3>(a);
    default:
      return learn<4>(a);
  }
}

}  // namespace branchsae::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
