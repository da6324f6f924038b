// Loading of tiles and the encode's matrix product. Included once for each instruction set.
#if defined(BRANCHSAE_CPU_SAE_ENCODE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BRANCHSAE_CPU_SAE_ENCODE_INL_H_
#undef BRANCHSAE_CPU_SAE_ENCODE_INL_H_
#else
#define BRANCHSAE_CPU_SAE_ENCODE_INL_H_
#endif

#include <cstring>

#include "cpu/sae/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace branchsae::cpu::HWY_NAMESPACE {

double load_tile(const LoadTile& a) {
  if (a.column_stride != 1) return plain_kernels().load_tile(a);
  const D d;
  const int64_t whole = a.d / kN * kN;
  const V scale = hn::Set(d, a.scale);
  V squares = hn::Zero(d);
  double tail_squares = 0;
  for (int64_t j = 0; j < whole; j += kN) {
    const V b_pre = hn::Load(d, a.b_pre + j);
    V sum = hn::Zero(d);
    for (int64_t t = 0; t < a.rows; ++t) {
      const V xc = hn::MulSub(scale, hn::LoadU(d, a.x + t * a.row_stride + j), b_pre);
      hn::Store(xc, d, a.xc + t * a.xc_stride + j);
      sum = hn::Add(sum, xc);
      squares = hn::MulAdd(xc, xc, squares);
    }
    hn::Store(sum, d, a.column_sums + j);
  }
  for (int64_t j = whole; j < a.d_padded; ++j) {
    float sum = 0;
    for (int64_t t = 0; t < a.rows; ++t) {
      const float xc = j < a.d ? a.scale * a.x[t * a.row_stride + j] - a.b_pre[j] : 0.0F;
      a.xc[t * a.xc_stride + j] = xc;
      sum += xc;
      tail_squares += static_cast<double>(xc) * static_cast<double>(xc);
    }
    a.column_sums[j] = sum;
  }
  return static_cast<double>(sum_of_lanes(squares)) + tail_squares;
}

// The block of sums that fits the registers: 6 tokens x 4 vectors of 32 registers, 6 x 2 of 16.
constexpr int kBlockVectors = kN == 16 ? 4 : 2;
constexpr int64_t kBlockColumns = kBlockVectors * kN;
constexpr int kRows = static_cast<int>(kTokenGroup);
static_assert(kPanel % kBlockColumns == 0);

struct Sums {
  V v[kRows][kBlockVectors];
};

// sums[r][v] += x[r] * w[v] for one of the d columns.
HWY_INLINE void multiply_add(const float* HWY_RESTRICT x, int64_t stride, const float* HWY_RESTRICT w,
                             Sums& s) {
  const D d;
  V weights[kBlockVectors];
  BRANCHSAE_UNROLL
  for (int v = 0; v < kBlockVectors; ++v) weights[v] = hn::Load(d, w + v * kN);
  BRANCHSAE_UNROLL
  for (int r = 0; r < kRows; ++r) {
    const V token = hn::Set(d, x[r * stride]);
    BRANCHSAE_UNROLL
    for (int v = 0; v < kBlockVectors; ++v) s.v[r][v] = hn::MulAdd(weights[v], token, s.v[r][v]);
  }
}

// Pre-activations of 6 tokens and kBlockColumns latents. Every sum starts with the bias and runs over the
// columns in order, so it does not depend on the tile.
template <bool kFirstChunk>
HWY_INLINE void encode_block(const EncodeChunk& a, int64_t row, int64_t panel, int64_t column,
                             const float* HWY_RESTRICT upcoming) {
  const D d;
  const float* HWY_RESTRICT w = a.weights + panel * a.d * kPanel + column;
  const float* HWY_RESTRICT x = a.xc + row * a.xc_stride;
  const int64_t stride = a.xc_stride;
  const float* bias = a.bias + panel * kPanel + column;
  Sums s;
  BRANCHSAE_UNROLL
  for (int r = 0; r < kRows; ++r) {
    BRANCHSAE_UNROLL
    for (int v = 0; v < kBlockVectors; ++v) s.v[r][v] = hn::Load(d, bias + v * kN);
  }
  int64_t j = 0;
  if (upcoming != nullptr) {
    for (; j + 4 <= a.d; j += 4) {
      __builtin_prefetch(upcoming, 0, 2);
      upcoming += kLanes;
      BRANCHSAE_UNROLL
      for (int c = 0; c < 4; ++c) multiply_add(x + j + c, stride, w + c * kPanel, s);
      w += 4 * kPanel;
    }
  } else {
    for (; j + 4 <= a.d; j += 4) {
      BRANCHSAE_UNROLL
      for (int c = 0; c < 4; ++c) multiply_add(x + j + c, stride, w + c * kPanel, s);
      w += 4 * kPanel;
    }
  }
  for (; j < a.d; ++j, w += kPanel) multiply_add(x + j, stride, w, s);

  float* HWY_RESTRICT p = a.p + row * kTileStride + panel * kPanel + column;
  BRANCHSAE_UNROLL
  for (int r = 0; r < kRows; ++r) {
    BRANCHSAE_UNROLL
    for (int v = 0; v < kBlockVectors; ++v) hn::Store(s.v[r][v], d, p + r * kTileStride + v * kN);
    if constexpr (kFirstChunk) {
      float* HWY_RESTRICT maxima = a.group_maxima + (row + r) * kPanel + column;
      BRANCHSAE_UNROLL
      for (int v = 0; v < kBlockVectors; ++v) {
        const V before = panel == 0 ? s.v[r][v] : hn::Load(d, maxima + v * kN);
        hn::Store(hn::Max(before, s.v[r][v]), d, maxima + v * kN);
      }
    } else {
      const V threshold = hn::Set(d, a.thresholds[row + r]);
      uint64_t bits = 0;
      BRANCHSAE_UNROLL
      for (int v = 0; v < kBlockVectors; ++v) bits |= mask_bits(hn::Gt(s.v[r][v], threshold)) << (v * kN);
      // Little-endian: the bytes of the columns inside the panel's 64-bit word.
      auto* word = reinterpret_cast<unsigned char*>(a.masks + (row + r) * kChunkPanels + panel);
      std::memcpy(word + column / 8, &bits, kBlockColumns / 8);
    }
  }
}

template <bool kFirstChunk>
HWY_INLINE void encode_panels(const EncodeChunk& a) {
  for (int64_t panel = 0; panel < a.panels; ++panel) {
    const float* next_panel = a.weights + (panel + 1) * a.d * kPanel;
    for (int64_t column = 0; column < kPanel; column += kBlockColumns) {
      for (int64_t row = 0; row < a.rows; row += kTokenGroup) {
        // 16 groups of tokens fetch a quarter line a column each: together the whole panel, once.
        const bool fetch = a.prefetch && column == 0;
        const float* upcoming = fetch ? next_panel + row / kTokenGroup * (a.d / 4) * kLanes : nullptr;
        encode_block<kFirstChunk>(a, row, panel, column, upcoming);
      }
    }
  }
}

void encode_chunk(const EncodeChunk& a) {
  if (a.group_maxima != nullptr) {
    encode_panels<true>(a);
  } else {
    encode_panels<false>(a);
  }
}

}  // namespace branchsae::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
