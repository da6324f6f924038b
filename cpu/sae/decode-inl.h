// Decode, residual, and the gradient of single tokens. Included once for each instruction set.
#if defined(BRANCHSAE_CPU_SAE_DECODE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BRANCHSAE_CPU_SAE_DECODE_INL_H_
#undef BRANCHSAE_CPU_SAE_DECODE_INL_H_
#else
#define BRANCHSAE_CPU_SAE_DECODE_INL_H_
#endif

#include "cpu/sae/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace branchsae::cpu::HWY_NAMESPACE {

// Widest column block of one pass: its residual stays in registers, twice, and its part of k rows in L1.
constexpr int kDecodeVectors = kN == 16 ? 8 : 4;
// Columns of the scatter: residual and token in registers.
constexpr int kScatterVectors = 4;

// Where the rows of the next block lie.
struct Upcoming {
  const int32_t* indices;
  int64_t count, column, bytes;
};

HWY_INLINE void prefetch_row(const DecodeToken& a, const Upcoming& next, int64_t i) {
  if (i >= next.count) return;
  const auto* row = reinterpret_cast<const char*>(a.rows + next.indices[i] * a.d_padded + next.column);
  for (int64_t byte = 0; byte < next.bytes; byte += 64) __builtin_prefetch(row + byte, 0, 2);
}

template <int kVectors>
HWY_INLINE void add_row(const float* HWY_RESTRICT row, float z, V* HWY_RESTRICT sums) {
  const D d;
  const V factor = hn::Set(d, z);
  BRANCHSAE_UNROLL
  for (int v = 0; v < kVectors; ++v) sums[v] = hn::MulAdd(factor, hn::Load(d, row + v * kN), sums[v]);
}

// work[i] (+)= the row's part of W_i . r, lane by lane.
template <int kVectors>
HWY_INLINE void dot_rows(const DecodeToken& a, int64_t column, const V* HWY_RESTRICT r) {
  const D d;
  int64_t i = 0;
  for (; i + 4 <= a.count; i += 4) {
    V sums[4];
    const float* rows[4];
    BRANCHSAE_UNROLL
    for (int q = 0; q < 4; ++q) {
      rows[q] = a.rows + a.indices[i + q] * a.d_padded + column;
      sums[q] = column == 0 ? hn::Zero(d) : hn::Load(d, a.work + (i + q) * kLanes);
    }
    BRANCHSAE_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      BRANCHSAE_UNROLL
      for (int q = 0; q < 4; ++q) sums[q] = hn::MulAdd(hn::Load(d, rows[q] + v * kN), r[v], sums[q]);
    }
    BRANCHSAE_UNROLL
    for (int q = 0; q < 4; ++q) hn::Store(sums[q], d, a.work + (i + q) * kLanes);
  }
  for (; i < a.count; ++i) {
    const float* row = a.rows + a.indices[i] * a.d_padded + column;
    V sum = column == 0 ? hn::Zero(d) : hn::Load(d, a.work + i * kLanes);
    for (int v = 0; v < kVectors; ++v) sum = hn::MulAdd(hn::Load(d, row + v * kN), r[v], sum);
    hn::Store(sum, d, a.work + i * kLanes);
  }
}

template <int kVectors>
HWY_INLINE void decode_block(const DecodeToken& a, int64_t column, const Upcoming& next, V& squares) {
  const D d;
  V even[kVectors], odd[kVectors];
  BRANCHSAE_UNROLL
  for (int v = 0; v < kVectors; ++v) even[v] = odd[v] = hn::Zero(d);
  const float* rows = a.rows + column;
  int64_t i = 0;
  for (; i + 2 <= a.count; i += 2) {
    if (next.count > 0) {
      prefetch_row(a, next, i);
      prefetch_row(a, next, i + 1);
    }
    add_row<kVectors>(rows + a.indices[i] * a.d_padded, a.z[i], even);
    add_row<kVectors>(rows + a.indices[i + 1] * a.d_padded, a.z[i + 1], odd);
  }
  if (i < a.count) add_row<kVectors>(rows + a.indices[i] * a.d_padded, a.z[i], even);
  const V sign = hn::Set(d, a.base_sign);
  BRANCHSAE_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    const V r = hn::MulAdd(sign, hn::Load(d, a.base + column + v * kN), hn::Add(even[v], odd[v]));
    even[v] = r;
    hn::Store(r, d, a.r + column + v * kN);
    squares = hn::MulAdd(r, r, squares);
  }
  if (a.r_sums != nullptr) {
    float* sums = a.r_sums + column;
    BRANCHSAE_UNROLL
    for (int v = 0; v < kVectors; ++v)
      hn::Store(hn::Add(hn::Load(d, sums + v * kN), even[v]), d, sums + v * kN);
  }
  if (a.dots != nullptr) dot_rows<kVectors>(a, column, even);
}

template <int kVectors>
HWY_INLINE void decode_block_of(int vectors, const DecodeToken& a, int64_t column, const Upcoming& next,
                                V& squares) {
  if (vectors == kVectors) return decode_block<kVectors>(a, column, next, squares);
  if constexpr (kVectors > 1) decode_block_of<kVectors - 1>(vectors, a, column, next, squares);
}

float decode_token(const DecodeToken& a) {
  const D d;
  const int64_t vectors = a.d_padded / kN, blocks = divide_up(vectors, kDecodeVectors);
  V squares = hn::Zero(d);
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t begin = vectors * b / blocks, end = vectors * (b + 1) / blocks;
    Upcoming next{a.next, a.next_count, 0, divide_up(vectors, blocks) * kN * 4};
    if (b + 1 < blocks) next = {a.indices, a.next == nullptr ? 0 : a.count, end * kN, next.bytes};
    decode_block_of<kDecodeVectors>(static_cast<int>(end - begin), a, begin * kN, next, squares);
  }
  if (a.dots != nullptr) {
    for (int64_t i = 0; i < a.count; i += kN) hn::Store(sum_rows(a.work + i * kLanes), d, a.dots + i);
  }
  return sum_of_lanes(squares);
}

template <int kVectors, bool kTied>
HWY_INLINE void scatter_block(const ScatterToken& a, int64_t column) {
  const D d;
  V r[kVectors], xc[kVectors];
  BRANCHSAE_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    r[v] = hn::Load(d, a.r + column + v * kN);
    xc[v] = hn::Load(d, a.xc + column + v * kN);
  }
  for (int64_t i = 0; i < a.count; ++i) {
    const int64_t offset = a.indices[i] * a.d_padded + column;
    const V zc = hn::Set(d, a.zc[i]), g = hn::Set(d, a.g[i]);
    float* row = a.rows + offset;
    float* row_dec = kTied ? row : a.rows_dec + offset;
    BRANCHSAE_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      if constexpr (kTied) {
        hn::Store(hn::MulAdd(zc, r[v], hn::MulAdd(g, xc[v], hn::Load(d, row + v * kN))), d, row + v * kN);
      } else {
        hn::Store(hn::MulAdd(g, xc[v], hn::Load(d, row + v * kN)), d, row + v * kN);
        hn::Store(hn::MulAdd(zc, r[v], hn::Load(d, row_dec + v * kN)), d, row_dec + v * kN);
      }
    }
  }
}

template <bool kTied>
HWY_INLINE void scatter_columns(const ScatterToken& a) {
  constexpr int64_t kStep = kScatterVectors * kN;
  int64_t column = 0;
  for (; column + kStep <= a.d_padded; column += kStep) scatter_block<kScatterVectors, kTied>(a, column);
  for (; column < a.d_padded; column += kN) scatter_block<1, kTied>(a, column);
}

void scatter_token(const ScatterToken& a) {
  if (a.rows_dec == nullptr) {
    scatter_columns<true>(a);
  } else {
    scatter_columns<false>(a);
  }
}

}  // namespace branchsae::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
