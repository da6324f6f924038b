// Pre-activations from pairs of bf16. Written with intrinsics: the vector library of the other kernels does
// not know the instruction, which multiplies twice as many numbers as a fused multiply-add.
#include <algorithm>
#include <cstring>

#include "cpu/sae/kernel_tables.h"
#include "cpu/sae/layout.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define BRANCHSAE_HAS_BF16 1
#define BRANCHSAE_BF16 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))
#define BRANCHSAE_BF16_INLINE BRANCHSAE_BF16 __attribute__((always_inline)) inline
#else
#define BRANCHSAE_HAS_BF16 0
#endif

namespace branchsae::cpu {

#if BRANCHSAE_HAS_BF16
namespace {

constexpr int64_t kVectors = kPanel / 16;
constexpr int kRows = static_cast<int>(kTokenGroup);

struct Sums {
  __m512 v[kRows][kVectors];
};

// Upper halves of two vectors of floats, in order.
BRANCHSAE_BF16_INLINE __m512i upper_halves(__m512 low, __m512 high) {
  alignas(64) static constexpr uint16_t kOdd[32] = {1,  3,  5,  7,  9,  11, 13, 15, 17, 19, 21,
                                                    23, 25, 27, 29, 31, 33, 35, 37, 39, 41, 43,
                                                    45, 47, 49, 51, 53, 55, 57, 59, 61, 63};
  return _mm512_permutex2var_epi16(_mm512_castps_si512(low), _mm512_load_si512(kOdd),
                                   _mm512_castps_si512(high));
}

template <bool kFirstChunk>
BRANCHSAE_BF16_INLINE void finish_row(const Screen& a, int64_t row, int64_t panel, const __m512* sums) {
  const __m512i low = upper_halves(sums[0], sums[1]), high = upper_halves(sums[2], sums[3]);
  Key* keys = a.keys + row * a.key_stride + panel * kPanel;
  _mm512_store_si512(keys, low);
  _mm512_store_si512(keys + 32, high);
  if constexpr (kFirstChunk) {
    Key* maxima = a.group_maxima + row * kPanel;
    const __m512i before_low = panel == 0 ? low : _mm512_load_si512(maxima);
    const __m512i before_high = panel == 0 ? high : _mm512_load_si512(maxima + 32);
    _mm512_store_si512(maxima, _mm512_max_epi16(before_low, low));
    _mm512_store_si512(maxima + 32, _mm512_max_epi16(before_high, high));
  } else {
    const __m512 threshold = _mm512_set1_ps(a.thresholds[row]);
    uint64_t bits = 0;
    for (int v = 0; v < kVectors; ++v)
      bits |= static_cast<uint64_t>(_mm512_cmp_ps_mask(sums[v], threshold, _CMP_GE_OQ)) << (16 * v);
    a.masks[row * kChunkPanels + panel] = bits;
  }
}

// Pre-activations of 6 tokens and 64 latents.
template <bool kFirstChunk>
BRANCHSAE_BF16_INLINE void encode_block(const EncodePairs& a, int64_t row, int64_t panel,
                                        const uint32_t* upcoming) {
  const uint32_t* __restrict w = a.weights + panel * a.pairs * kPanel;
  const uint32_t* __restrict x = a.xs + row * a.x_stride;
  const int64_t stride = a.x_stride;
  Sums s;
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) s.v[r][v] = _mm512_load_ps(a.bias + panel * kPanel + 16 * v);
  }
#pragma GCC unroll 2
  for (int64_t j = 0; j < a.pairs; ++j, w += kPanel) {
    __m512bh weights[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) weights[v] = reinterpret_cast<__m512bh>(_mm512_load_si512(w + 16 * v));
    if (upcoming != nullptr && j % 4 == 0) {
      _mm_prefetch(reinterpret_cast<const char*>(upcoming), _MM_HINT_T1);
      upcoming += 16;
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const auto token = reinterpret_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(x[r * stride + j])));
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) s.v[r][v] = _mm512_dpbf16_ps(s.v[r][v], weights[v], token);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) finish_row<kFirstChunk>(a.screen, row + r, panel, s.v[r]);
}

template <bool kFirstChunk>
BRANCHSAE_BF16 void encode_panels(const EncodePairs& a) {
  for (int64_t panel = 0; panel < a.panels; ++panel) {
    const uint32_t* next_panel = a.weights + (panel + 1) * a.pairs * kPanel;
    for (int64_t row = 0; row < a.rows; row += kTokenGroup) {
      // 16 groups of tokens fetch a line every 4 pairs each: together the whole panel, once.
      const uint32_t* upcoming =
          a.prefetch ? next_panel + row / kTokenGroup * divide_up(a.pairs, 4) * 16 : nullptr;
      encode_block<kFirstChunk>(a, row, panel, upcoming);
    }
  }
}

BRANCHSAE_BF16 void encode_pairs(const EncodePairs& a) {
  if (a.screen.group_maxima != nullptr) {
    encode_panels<true>(a);
  } else {
    encode_panels<false>(a);
  }
}

SaeKernels with_bf16(SaeKernels kernels) {
  kernels.isa = Isa::kAvx512Bf16;
  kernels.encode_pairs = encode_pairs;
  kernels.list_keys = vbmi2_list_keys();  // processors of the one have the other, as a rule
  return kernels;
}

}  // namespace

const SaeKernels* bf16_kernels() {
  const SaeKernels* avx512 = vector_kernels(Isa::kAvx512);
  if (avx512 == nullptr || !__builtin_cpu_supports("avx512bf16")) return nullptr;
  static const SaeKernels kernels = with_bf16(*avx512);
  return &kernels;
}

#else

const SaeKernels* bf16_kernels() {
  return nullptr;
}

#endif

}  // namespace branchsae::cpu
