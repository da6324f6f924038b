// Loading of tiles and the encode's matrix product. Included once for each instruction set.
#if defined(BRANCHSAE_CPU_SAE_ENCODE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BRANCHSAE_CPU_SAE_ENCODE_INL_H_
#undef BRANCHSAE_CPU_SAE_ENCODE_INL_H_
#else
#define BRANCHSAE_CPU_SAE_ENCODE_INL_H_
#endif

#include <algorithm>
#include <cstring>

#include "cpu/sae/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace branchsae::cpu::HWY_NAMESPACE {

// Columns of a block of load_tile(), whose sums stay in registers.
constexpr int kLoadVectors = kN == 16 ? 8 : 4;

struct TileSquares {
  V squares;
  size_t nonzeros;
};

// A block of columns of all tokens. Tokens of the next tile are asked for meanwhile: they come from memory.
template <int kVectors>
HWY_INLINE void load_block(const LoadTile& a, int64_t column, TileSquares& total) {
  const D d;
  const V scale = hn::Set(d, a.scale);
  V b_pre[kVectors], sums[kVectors];
  BRANCHSAE_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    b_pre[v] = hn::Load(d, a.b_pre + column + v * kN);
    sums[v] = hn::Zero(d);
  }
  for (int64_t t = 0; t < a.rows; ++t) {
    const float* HWY_RESTRICT x = a.x + t * a.row_stride + column;
    const float* upcoming = x + a.rows * a.row_stride;
    float* HWY_RESTRICT xs = a.xs + t * a.tile_stride + column;
    float* HWY_RESTRICT xc = a.xc + t * a.tile_stride + column;
    BRANCHSAE_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      if (v * kN % kLanes == 0) __builtin_prefetch(upcoming + v * kN, 0, 2);
      const V scaled = hn::Mul(scale, hn::LoadU(d, x + v * kN)), centred = hn::Sub(scaled, b_pre[v]);
      hn::Store(scaled, d, xs + v * kN);
      hn::Store(centred, d, xc + v * kN);
      sums[v] = hn::Add(sums[v], centred);
      total.squares = hn::MulAdd(centred, centred, total.squares);
      total.nonzeros += hn::CountTrue(d, hn::Ne(scaled, hn::Zero(d)));
    }
  }
  BRANCHSAE_UNROLL
  for (int v = 0; v < kVectors; ++v) hn::Store(sums[v], d, a.column_sums + column + v * kN);
}

LoadedTile load_tile(const LoadTile& a) {
  if (a.column_stride != 1) return plain_kernels().load_tile(a);
  const int64_t whole = a.d / kN * kN;
  TileSquares total{hn::Zero(D()), 0};
  double tail_squares = 0;
  int64_t column = 0;
  for (; column + kLoadVectors * kN <= whole; column += kLoadVectors * kN)
    load_block<kLoadVectors>(a, column, total);
  for (; column + 4 * kN <= whole; column += 4 * kN) load_block<4>(a, column, total);
  for (; column < whole; column += kN) load_block<1>(a, column, total);
  for (int64_t j = whole; j < a.d_padded; ++j) {
    float sum = 0;
    for (int64_t t = 0; t < a.rows; ++t) {
      const float xs = j < a.d ? a.scale * a.x[t * a.row_stride + j] : 0.0F,
                  xc = j < a.d ? xs - a.b_pre[j] : 0.0F;
      a.xs[t * a.tile_stride + j] = xs;
      a.xc[t * a.tile_stride + j] = xc;
      sum += xc;
      tail_squares += static_cast<double>(xc) * static_cast<double>(xc);
      total.nonzeros += xs != 0 ? 1 : 0;
    }
    a.column_sums[j] = sum;
  }
  return {static_cast<double>(sum_of_lanes(total.squares)) + tail_squares,
          static_cast<int64_t>(total.nonzeros)};
}

// One token's entries of one block of columns; returns their end.
HWY_INLINE int32_t list_block(const float* x, int64_t begin, int64_t end, int32_t count, int32_t* columns,
                              float* values) {
  // Numbers from memory: the vector library would write them one by one each time.
  alignas(64) static constexpr int32_t kNumbers[kLanes] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                           8, 9, 10, 11, 12, 13, 14, 15};
  const D d;
  const DI di;
  const VI numbers = hn::Load(di, kNumbers);
  for (int64_t j = begin; j < end; j += kN) {
    const V x_j = hn::Load(d, x + j);
    const Mask real = hn::Ne(x_j, hn::Zero(d));
    const VI column = hn::Add(numbers, hn::Set(di, static_cast<int32_t>(j)));
    hn::StoreU(hn::Compress(column, hn::RebindMask(di, real)), di, columns + count);
    hn::StoreU(hn::Compress(x_j, real), d, values + count);
    count += static_cast<int32_t>(hn::CountTrue(d, real));
  }
  return count;
}

void list_nonzeros(const float* xs, int64_t x_stride, int64_t rows, int64_t d, const NonzeroLists& lists) {
  for (int64_t b = 0; b < lists.blocks; ++b) {
    const int64_t begin = b * lists.block_columns, end = std::min(begin + lists.block_columns, d);
    int32_t* starts = lists.starts + b * lists.starts_stride;
    starts[0] = 0;
    for (int64_t t = 0; t < rows; ++t) {
      starts[t + 1] =
          list_block(xs + t * x_stride, begin, end, starts[t], lists.columns + b * lists.block_stride,
                     lists.values + b * lists.block_stride);
    }
  }
}

void shift_bias(const ShiftBias& a) {
  const D d;
  V sums[kPanel / kN];
  BRANCHSAE_UNROLL
  for (int v = 0; v < kPanel / kN; ++v) sums[v] = hn::Load(d, a.b_enc + v * kN);
  for (int64_t j = 0; j < a.d; ++j) {
    if (a.b_pre[j] == 0) continue;  // an infinite weight may not meet it
    const V shift = hn::Set(d, a.b_pre[j]);
    BRANCHSAE_UNROLL
    for (int v = 0; v < kPanel / kN; ++v)
      sums[v] = hn::NegMulAdd(hn::Load(d, a.panel + j * kPanel + v * kN), shift, sums[v]);
  }
  BRANCHSAE_UNROLL
  for (int v = 0; v < kPanel / kN; ++v) hn::Store(sums[v], d, a.shifted + v * kN);
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

// Stores the keys of one token, and what the selection wants to know of them.
template <bool kFirstChunk, int kVectors>
HWY_INLINE void finish_row(const Screen& a, int64_t row, int64_t panel, int64_t column,
                           const V* HWY_RESTRICT sums) {
  const D d;
  const DK dk;
  Key* HWY_RESTRICT keys = a.keys + row * a.key_stride + panel * kPanel + column;
  VK key[kVectors / 2];
  BRANCHSAE_UNROLL
  for (int v = 0; v < kVectors / 2; ++v) {
    key[v] = hn::ConcatOdd(dk, hn::BitCast(dk, sums[2 * v + 1]), hn::BitCast(dk, sums[2 * v]));
    hn::Store(key[v], dk, keys + v * kKeys);
  }
  if constexpr (kFirstChunk) {
    Key* HWY_RESTRICT maxima = a.group_maxima + row * kPanel + column;
    BRANCHSAE_UNROLL
    for (int v = 0; v < kVectors / 2; ++v) {
      const VK before = panel == 0 ? key[v] : hn::Load(dk, maxima + v * kKeys);
      hn::Store(hn::Max(before, key[v]), dk, maxima + v * kKeys);
    }
  } else {
    const V threshold = hn::Set(d, a.thresholds[row]);
    uint64_t bits = 0;
    BRANCHSAE_UNROLL
    for (int v = 0; v < kVectors; ++v) bits |= mask_bits(d, hn::Ge(sums[v], threshold)) << (v * kN);
    // Little-endian: the bytes of the columns inside the panel's 64-bit word.
    auto* word = reinterpret_cast<unsigned char*>(a.masks + row * kChunkPanels + panel);
    std::memcpy(word + column / 8, &bits, kVectors * kN / 8);
  }
}

// Pre-activations of 6 tokens and kBlockColumns latents.
template <bool kFirstChunk>
HWY_INLINE void encode_block(const EncodeChunk& a, int64_t row, int64_t panel, int64_t column,
                             const float* HWY_RESTRICT upcoming) {
  const D d;
  const float* HWY_RESTRICT w = a.weights + panel * a.d * kPanel + column;
  const float* HWY_RESTRICT x = a.xs + row * a.x_stride;
  const int64_t stride = a.x_stride;
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

  BRANCHSAE_UNROLL
  for (int r = 0; r < kRows; ++r)
    finish_row<kFirstChunk, kBlockVectors>(a.screen, row + r, panel, column, s.v[r]);
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

// One token's nonzeros of one block of columns against kPanels neighbouring panels, added to what earlier
// blocks left in `sums`. Two panels give the eight independent sums that the latency of multiply-adds asks
// for.
template <bool kFirstChunk, int kPanels>
HWY_INLINE void sparse_row(const EncodeChunk& a, int64_t row, int64_t panel, int64_t block) {
  constexpr int kVectors = kPanel / kN;
  const D d;
  const NonzeroLists& lists = *a.nonzeros;
  const int32_t* starts = lists.starts + block * lists.starts_stride + row;
  const int32_t* HWY_RESTRICT columns = lists.columns + block * lists.block_stride;
  const float* HWY_RESTRICT values = lists.values + block * lists.block_stride;
  const float* HWY_RESTRICT weights = a.weights + panel * a.d * kPanel;
  float* HWY_RESTRICT p = a.sums + row * kSumStride;
  const float* from = block == 0 ? a.bias + panel * kPanel : p;
  V sums[kPanels][kVectors];
  BRANCHSAE_UNROLL
  for (int q = 0; q < kPanels; ++q) {
    BRANCHSAE_UNROLL
    for (int v = 0; v < kVectors; ++v) sums[q][v] = hn::Load(d, from + q * kPanel + v * kN);
  }
  for (int32_t i = starts[0]; i < starts[1]; ++i) {
    const V x = hn::Set(d, values[i]);
    const float* HWY_RESTRICT w = weights + static_cast<int64_t>(columns[i]) * kPanel;
    BRANCHSAE_UNROLL
    for (int q = 0; q < kPanels; ++q) {
      BRANCHSAE_UNROLL
      for (int v = 0; v < kVectors; ++v)
        sums[q][v] = hn::MulAdd(hn::Load(d, w + q * a.d * kPanel + v * kN), x, sums[q][v]);
    }
  }
  BRANCHSAE_UNROLL
  for (int q = 0; q < kPanels; ++q) {
    if (block + 1 == lists.blocks) {
      finish_row<kFirstChunk, kVectors>(a.screen, row, panel + q, 0, sums[q]);
    } else {
      BRANCHSAE_UNROLL
      for (int v = 0; v < kVectors; ++v) hn::Store(sums[q][v], d, p + q * kPanel + v * kN);
    }
  }
}

// The weights of a block of columns stay in L1 while all tokens pass.
template <bool kFirstChunk, int kPanels>
HWY_INLINE void sparse_panels(const EncodeChunk& a, int64_t panel) {
  for (int64_t block = 0; block < a.nonzeros->blocks; ++block) {
    for (int64_t row = 0; row < a.rows; ++row) sparse_row<kFirstChunk, kPanels>(a, row, panel, block);
  }
}

template <bool kFirstChunk>
HWY_INLINE void encode_sparse(const EncodeChunk& a) {
  int64_t panel = 0;
  if constexpr (kN == 16) {
    for (; panel + 2 <= a.panels; panel += 2) sparse_panels<kFirstChunk, 2>(a, panel);
  }
  for (; panel < a.panels; ++panel) sparse_panels<kFirstChunk, 1>(a, panel);
}

void encode_chunk(const EncodeChunk& a) {
  const bool first = a.screen.group_maxima != nullptr;
  if (a.nonzeros != nullptr) return first ? encode_sparse<true>(a) : encode_sparse<false>(a);
  return first ? encode_panels<true>(a) : encode_panels<false>(a);
}

}  // namespace branchsae::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
