// Pre-activations whose bits count: each from its own row of W in one order of additions, whatever found the
// latent. The rows are read again by the decode, which then has them in L1. Included once for each
// instruction set.
#if defined(BRANCHSAE_CPU_SAE_SCORE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BRANCHSAE_CPU_SAE_SCORE_INL_H_
#undef BRANCHSAE_CPU_SAE_SCORE_INL_H_
#else
#define BRANCHSAE_CPU_SAE_SCORE_INL_H_
#endif

#include <algorithm>

#include "cpu/sae/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace branchsae::cpu::HWY_NAMESPACE {

// Lane i: the bias of row i in lane 0, plus its products lane by lane, the lanes added up; of up to kN rows,
// a multiple of four. kVectors: of a row; 0: any number.
template <int kVectors>
HWY_INLINE V score_rows(const Scoring& s, const float* HWY_RESTRICT x, const int32_t* HWY_RESTRICT latents,
                        int64_t count) {
  const D d;
  const int64_t vectors = kVectors > 0 ? kVectors : s.d_padded / kN;
  const Mask lane0 = hn::FirstN(d, 1);
  return sum_fours([&](int64_t first) HWY_ATTR {
    if (first >= count) return hn::Zero(d);
    const float* rows[4];
    V sum[4];
    BRANCHSAE_UNROLL
    for (int q = 0; q < 4; ++q) {
      const int32_t latent = latents[first + q];
      rows[q] = s.weights + latent * s.d_padded;
      sum[q] = hn::IfThenElseZero(lane0, hn::Set(d, s.bias[latent]));
    }
    BRANCHSAE_UNROLL
    for (int64_t v = 0; v < vectors; ++v) {
      const V x_v = hn::Load(d, x + v * kN);
      BRANCHSAE_UNROLL
      for (int q = 0; q < 4; ++q) sum[q] = hn::MulAdd(hn::Load(d, rows[q] + v * kN), x_v, sum[q]);
    }
    return sum_four(sum[0], sum[1], sum[2], sum[3]);
  });
}

// `count` is a multiple of four; whole vectors are written.
template <int kVectors>
HWY_INLINE void score_all(const Scoring& s, const float* x, const int32_t* latents, int64_t count,
                          float* HWY_RESTRICT values) {
  for (int64_t first = 0; first < count; first += kN)
    hn::StoreU(score_rows<kVectors>(s, x, latents + first, count - first), D(), values + first);
}

HWY_INLINE void score_all(const Scoring& s, const float* x, const int32_t* latents, int64_t count,
                          float* values) {
  switch (s.d_padded / kN) {
    case 4:
      return score_all<4>(s, x, latents, count, values);
    case 8:
      return score_all<8>(s, x, latents, count, values);
    default:
      return score_all<0>(s, x, latents, count, values);
  }
}

// values[i] = u of positions[i] for the token of a row; writes whole vectors of values, and up to 3 positions
// beyond the count.
HWY_INLINE void score(const Scoring& s, int64_t row, int32_t* positions, int64_t count,
                      float* HWY_RESTRICT values) {
  constexpr int64_t kMapped = 64;
  const float* x = s.xs + row * s.x_stride;
  if (count > 0) std::fill_n(positions + count, round_up(count, 4) - count, positions[count - 1]);
  if (s.latents == nullptr) return score_all(s, x, positions, round_up(count, 4), values);
  int32_t mapped[kMapped];
  for (int64_t first = 0; first < count; first += kMapped) {
    const int64_t some = round_up(std::min(kMapped, count - first), 4);
    for (int64_t i = 0; i < some; ++i) mapped[i] = s.latents[positions[first + i]];
    score_all(s, x, mapped, some, values + first);
  }
}

}  // namespace branchsae::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
