// Encode of sparse tokens in fixed point. Included once for each instruction set.
//
// A 16-bit product, its upper half rounded, adds twice as many latents an instruction as single precision
// does, reads half the bytes, and the sums are the keys of the selection as they stand.
#if defined(BRANCHSAE_CPU_SAE_FIXED_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BRANCHSAE_CPU_SAE_FIXED_INL_H_
#undef BRANCHSAE_CPU_SAE_FIXED_INL_H_
#else
#define BRANCHSAE_CPU_SAE_FIXED_INL_H_
#endif

#include <algorithm>

#include "cpu/sae/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace branchsae::cpu::HWY_NAMESPACE {

// Multiples of 1 / factor; padding, minus infinity, becomes the least number.
HWY_INLINE VI to_fixed(V value, V factor) {
  const DI di;
  return hn::Max(hn::NearestInt(hn::Mul(factor, value)), hn::Set(di, -0x8000));
}

template <bool kStream>
HWY_INLINE void fix_row(const float* HWY_RESTRICT from, float factor, Fixed* HWY_RESTRICT to) {
  const D d;
  const DK dk;
  const V by = hn::Set(d, factor);
  for (int64_t c = 0; c < kPanel; c += kKeys) {
    const VK low = hn::BitCast(dk, to_fixed(hn::Load(d, from + c), by));
    const VK high = hn::BitCast(dk, to_fixed(hn::Load(d, from + c + kN), by));
    const VK fixed = hn::ConcatEven(dk, high, low);
    if constexpr (kStream) {
      hn::Stream(fixed, dk, to + c);
    } else {
      hn::Store(fixed, dk, to + c);
    }
  }
}

template <bool kStream>
HWY_INLINE void fix_panel_of(const FixPanel& a) {
  for (int64_t j = 0; j < a.columns; ++j)
    fix_row<kStream>(a.panel + j * kPanel, a.weight_factor, a.fixed + j * kPanel);
  fix_row<kStream>(a.bias, a.bias_factor, a.fixed + a.columns * kPanel);
  if (kStream) hwy::FlushStream();
}

void fix_panel(const FixPanel& a) {
  return a.shared ? fix_panel_of<true>(a) : fix_panel_of<false>(a);
}

void fix_tokens(const FixTokens& a) {
  const D d;
  const DI di;
  const NonzeroLists& lists = *a.nonzeros;
  for (int64_t b = 0; b < lists.blocks; ++b) {
    const int32_t* starts = lists.starts + b * lists.starts_stride;
    const float* values = lists.values + b * lists.block_stride;
    auto* fixed = reinterpret_cast<int32_t*>(a.fixed + b * lists.block_stride);
    for (int64_t t = 0; t < a.rows; ++t) {
      const V factor = hn::Set(d, a.factors[t]);
      // What is written beyond the token's values is overwritten by the next token's.
      for (int64_t i = starts[t]; i < starts[t + 1]; i += kN) {
        const VI value = to_fixed(hn::LoadU(d, values + i), factor);
        const VI twice = hn::Or(hn::ShiftLeft<16>(value), hn::And(value, hn::Set(di, 0xffff)));
        hn::StoreU(twice, di, fixed + i);
      }
    }
  }
}

template <bool kFirstChunk, int kPanels>
HWY_INLINE void finish_fixed(const EncodeFixed& a, int64_t row, int64_t panel,
                             const VK (*HWY_RESTRICT sums)[kPanel / kKeys]) {
  constexpr int kVectors = kPanel / kKeys;
  const DK dk;
  const Screen& s = a.screen;
  if constexpr (kFirstChunk) {
    Key* HWY_RESTRICT maxima = s.group_maxima + row * kPanel;
    BRANCHSAE_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      VK most = panel == 0 ? sums[0][v] : hn::Max(sums[0][v], hn::Load(dk, maxima + v * kKeys));
      BRANCHSAE_UNROLL
      for (int q = 1; q < kPanels; ++q) most = hn::Max(most, sums[q][v]);
      hn::Store(most, dk, maxima + v * kKeys);
    }
  } else {
    const VK below = hn::Set(dk, static_cast<Key>(key_of(s.thresholds[row], s.units[row]) - 1));
    BRANCHSAE_UNROLL
    for (int q = 0; q < kPanels; ++q) {
      uint64_t bits = 0;
      BRANCHSAE_UNROLL
      for (int v = 0; v < kVectors; ++v) bits |= mask_bits(dk, hn::Gt(sums[q][v], below)) << (v * kKeys);
      s.masks[row * kChunkPanels + panel + q] = bits;
    }
  }
}

// One token's nonzeros of one block of columns against kPanels neighbouring panels, added to what earlier
// blocks left in the keys.
template <bool kFirstChunk, int kPanels>
HWY_INLINE void fixed_row(const EncodeFixed& a, int64_t row, int64_t panel, int64_t block) {
  constexpr int kVectors = kPanel / kKeys;
  const DK dk;
  const DI di;
  const NonzeroLists& lists = *a.nonzeros;
  const int64_t panel_size = (a.d + 1) * kPanel;
  const int32_t* starts = lists.starts + block * lists.starts_stride + row;
  const int32_t* HWY_RESTRICT columns = lists.columns + block * lists.block_stride;
  const uint32_t* HWY_RESTRICT values = a.values + block * lists.block_stride;
  const Fixed* HWY_RESTRICT weights = a.weights + panel * panel_size;
  Key* HWY_RESTRICT keys = a.screen.keys + row * a.screen.key_stride + panel * kPanel;
  VK sums[kPanels][kVectors];
  const VK bias = hn::Set(dk, a.bias_factors[row]);
  BRANCHSAE_UNROLL
  for (int q = 0; q < kPanels; ++q) {
    BRANCHSAE_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const Fixed* biases = weights + q * panel_size + a.d * kPanel + v * kKeys;
      sums[q][v] = block > 0 ? hn::Load(dk, keys + q * kPanel + v * kKeys)
                             : hn::MulFixedPoint15(hn::Load(dk, biases), bias);
    }
  }
  for (int32_t i = starts[0]; i < starts[1]; ++i) {
    const VK x = hn::BitCast(dk, hn::Set(di, static_cast<int32_t>(values[i])));
    const Fixed* HWY_RESTRICT w = weights + static_cast<int64_t>(columns[i]) * kPanel;
    BRANCHSAE_UNROLL
    for (int q = 0; q < kPanels; ++q) {
      BRANCHSAE_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        const VK weight = hn::Load(dk, w + q * panel_size + v * kKeys);
        sums[q][v] = hn::Add(sums[q][v], hn::MulFixedPoint15(weight, x));
      }
    }
  }
  BRANCHSAE_UNROLL
  for (int q = 0; q < kPanels; ++q) {
    BRANCHSAE_UNROLL
    for (int v = 0; v < kVectors; ++v) hn::Store(sums[q][v], dk, keys + q * kPanel + v * kKeys);
  }
  if (block + 1 == lists.blocks) finish_fixed<kFirstChunk, kPanels>(a, row, panel, sums);
}

// The weights of a block of columns stay in L1 while all tokens pass.
template <bool kFirstChunk, int kPanels>
HWY_INLINE int64_t fixed_panels(const EncodeFixed& a, int64_t panel) {
  for (; panel + kPanels <= a.panels; panel += kPanels) {
    for (int64_t block = 0; block < a.nonzeros->blocks; ++block) {
      for (int64_t row = 0; row < a.rows; ++row) fixed_row<kFirstChunk, kPanels>(a, row, panel, block);
    }
  }
  return panel;
}

template <bool kFirstChunk>
HWY_INLINE void encode_fixed_chunk(const EncodeFixed& a) {
  int64_t panel = 0;
  if constexpr (kN == 16) {
    // More panels share the fetching of values, as long as their weights fit an L1 cache.
    if (a.nonzeros->block_columns <= kNarrowColumns) panel = fixed_panels<kFirstChunk, 4>(a, panel);
  }
  if constexpr (kN >= 8) panel = fixed_panels<kFirstChunk, 2>(a, panel);
  fixed_panels<kFirstChunk, 1>(a, panel);
}

void encode_fixed(const EncodeFixed& a) {
  if (a.screen.group_maxima != nullptr) {
    encode_fixed_chunk<true>(a);
  } else {
    encode_fixed_chunk<false>(a);
  }
}

}  // namespace branchsae::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
