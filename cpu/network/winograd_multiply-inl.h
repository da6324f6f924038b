// The small matrix products. Included once for each instruction set.
#if defined(BRANCHSAE_CPU_NETWORK_WINOGRAD_MULTIPLY_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BRANCHSAE_CPU_NETWORK_WINOGRAD_MULTIPLY_INL_H_
#undef BRANCHSAE_CPU_NETWORK_WINOGRAD_MULTIPLY_INL_H_
#else
#define BRANCHSAE_CPU_NETWORK_WINOGRAD_MULTIPLY_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>

#ifndef BRANCHSAE_UNROLL
#define BRANCHSAE_UNROLL _Pragma("GCC unroll 16")
#endif

HWY_BEFORE_NAMESPACE();
namespace branchsae::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// product [rows][width] = left [rows][depth] right [depth][width].
struct SmallProduct {
  const float* left;
  int64_t left_stride;
  const float* right;
  int64_t depth, rows, width;  // width: whole channel blocks
  float* product;
};

// 6 x 4 sums of the 32 registers that AVX-512 and NEON have, 6 x 2 of 16.
constexpr int kMaxRows = 6;
#if HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64
constexpr int kMaxVectors = 4;
#else
constexpr int kMaxVectors = 2;
#endif

template <int kRows, int kVectors, class D>
HWY_INLINE void multiply_block(D tag, const SmallProduct& a, int64_t row, int64_t column) {
  using V = hn::Vec<D>;
  constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(D()));
  const float* HWY_RESTRICT left = a.left + row * a.left_stride;
  const float* HWY_RESTRICT right = a.right + column;
  V sums[kRows][kVectors];
  BRANCHSAE_UNROLL
  for (int r = 0; r < kRows; ++r) {
    BRANCHSAE_UNROLL
    for (int v = 0; v < kVectors; ++v) sums[r][v] = hn::Zero(tag);
  }
  const int64_t stride = a.left_stride, width = a.width;
  for (int64_t k = 0; k < a.depth; ++k, right += width) {
    V weights[kVectors];
    BRANCHSAE_UNROLL
    for (int v = 0; v < kVectors; ++v) weights[v] = hn::LoadU(tag, right + v * kLanes);
    BRANCHSAE_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const V input = hn::Set(tag, left[r * stride + k]);
      BRANCHSAE_UNROLL
      for (int v = 0; v < kVectors; ++v) sums[r][v] = hn::MulAdd(weights[v], input, sums[r][v]);
    }
  }
  float* product = a.product + row * width + column;
  BRANCHSAE_UNROLL
  for (int r = 0; r < kRows; ++r) {
    BRANCHSAE_UNROLL
    for (int v = 0; v < kVectors; ++v) hn::StoreU(sums[r][v], tag, product + r * width + v * kLanes);
  }
}

template <int kVectors, class D>
HWY_INLINE void multiply_columns(D tag, const SmallProduct& a, int64_t row, int64_t rows, int64_t column) {
  switch (rows) {
    case 1:
      return multiply_block<1, kVectors>(tag, a, row, column);
    case 2:
      return multiply_block<2, kVectors>(tag, a, row, column);
    case 3:
      return multiply_block<3, kVectors>(tag, a, row, column);
    case 4:
      return multiply_block<4, kVectors>(tag, a, row, column);
    case 5:
      return multiply_block<5, kVectors>(tag, a, row, column);
    default:
      return multiply_block<6, kVectors>(tag, a, row, column);
  }
}

// Rows in groups that differ by one at most; the right matrix's columns stay near while all rows pass.
template <int kBlock>
void multiply(const SmallProduct& a) {
  const hn::CappedTag<float, kBlock> tag;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag)), groups = (a.rows + kMaxRows - 1) / kMaxRows;
  for (int64_t column = 0; column < a.width;) {
    const int64_t vectors = std::min<int64_t>(kMaxVectors, (a.width - column) / lanes);
    for (int64_t group = 0; group < groups; ++group) {
      const int64_t row = group * a.rows / groups, rows = (group + 1) * a.rows / groups - row;
      if (vectors == 1) multiply_columns<1>(tag, a, row, rows, column);
      if (vectors == 2) multiply_columns<2>(tag, a, row, rows, column);
      if constexpr (kMaxVectors > 2) {
        if (vectors == 3) multiply_columns<3>(tag, a, row, rows, column);
        if (vectors == 4) multiply_columns<4>(tag, a, row, rows, column);
      }
    }
    column += vectors * lanes;
  }
}

}  // namespace branchsae::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
