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

// Rows whose sums are kept lane by lane before their lanes are added, sixteen rows at once.
constexpr int64_t kScoredRows = 64;

// sums[i] = the bias in lane 0, plus the products of the row, lane by lane. kVectors: of a row; 0: any
// number.
template <int kVectors>
HWY_INLINE void multiply_rows(const Scoring& s, const float* HWY_RESTRICT x, const int32_t* latents,
                              int64_t count, float* HWY_RESTRICT sums) {
  const D d;
  const int64_t vectors = kVectors > 0 ? kVectors : s.d_padded / kN;
  const Mask lane0 = hn::FirstN(d, 1);
  for (int64_t i = 0; i < count; i += 4) {
    const float* rows[4];
    V sum[4];
    BRANCHSAE_UNROLL
    for (int q = 0; q < 4; ++q) {
      rows[q] = s.weights + latents[i + q] * s.d_padded;
      sum[q] = hn::IfThenElseZero(lane0, hn::Set(d, s.bias[latents[i + q]]));
    }
    BRANCHSAE_UNROLL
    for (int64_t v = 0; v < vectors; ++v) {
      const V x_v = hn::Load(d, x + v * kN);
      BRANCHSAE_UNROLL
      for (int q = 0; q < 4; ++q) sum[q] = hn::MulAdd(hn::Load(d, rows[q] + v * kN), x_v, sum[q]);
    }
    BRANCHSAE_UNROLL
    for (int q = 0; q < 4; ++q) hn::Store(sum[q], d, sums + (i + q) * kLanes);
  }
}

HWY_INLINE void multiply_rows(const Scoring& s, const float* x, const int32_t* latents, int64_t count,
                              float* sums) {
  switch (s.d_padded / kN) {
    case 4:
      return multiply_rows<4>(s, x, latents, count, sums);
    case 8:
      return multiply_rows<8>(s, x, latents, count, sums);
    default:
      return multiply_rows<0>(s, x, latents, count, sums);
  }
}

// values[i] = u of positions[i] for the token of a row; writes whole vectors of values, and up to 3 positions
// beyond the count.
HWY_INLINE void score(const Scoring& s, int64_t row, int32_t* positions, int64_t count,
                      float* HWY_RESTRICT values) {
  const float* x = s.xs + row * s.x_stride;
  alignas(64) float sums[kScoredRows * kLanes];
  int32_t mapped[kScoredRows];
  if (count > 0) std::fill_n(positions + count, round_up(count, 4) - count, positions[count - 1]);
  for (int64_t first = 0; first < count; first += kScoredRows) {
    const int64_t some = round_up(std::min(kScoredRows, count - first), 4);
    const int32_t* latents = positions + first;
    if (s.latents != nullptr) {
      for (int64_t i = 0; i < some; ++i) mapped[i] = s.latents[latents[i]];
      latents = mapped;
    }
    multiply_rows(s, x, latents, some, sums);
    for (int64_t i = 0; i < some; i += kN) hn::StoreU(sum_rows(sums + i * kLanes), D(), values + first + i);
  }
}

}  // namespace branchsae::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
