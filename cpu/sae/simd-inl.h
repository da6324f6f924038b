// Types and small helpers of the vector kernels. Included once for each instruction set.
#if defined(BRANCHSAE_CPU_SAE_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BRANCHSAE_CPU_SAE_SIMD_INL_H_
#undef BRANCHSAE_CPU_SAE_SIMD_INL_H_
#else
#define BRANCHSAE_CPU_SAE_SIMD_INL_H_
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "cpu/sae/kernel_tables.h"
#include "cpu/sae/layout.h"

#ifndef BRANCHSAE_UNROLL
#define BRANCHSAE_UNROLL _Pragma("GCC unroll 16")
#endif

HWY_BEFORE_NAMESPACE();
namespace branchsae::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;
using DI = hn::RebindToSigned<D>;
using V = hn::Vec<D>;
using VI = hn::Vec<DI>;
using Mask = hn::Mask<D>;
constexpr int kN = static_cast<int>(hn::MaxLanes(D()));
static_assert(kLanes % kN == 0);
using DK = hn::ScalableTag<Key>;
using VK = hn::Vec<DK>;
constexpr int kKeys = static_cast<int>(hn::MaxLanes(DK()));
static_assert(kKeys == 2 * kN && kPanel % kKeys == 0);

// Bit i is lane i.
template <class Tag>
HWY_INLINE uint64_t mask_bits(Tag tag, hn::Mask<Tag> mask) {
  uint8_t bytes[8] = {};
  hn::StoreMaskBits(tag, mask, bytes);
  uint64_t bits;
  std::memcpy(&bits, bytes, sizeof bits);
  return bits;
}

// Keys of a token: `unit` is what a key of 1 stands for, 0: keys are upper halves of floats.
HWY_INLINE float value_of(int32_t key, float unit) {
  return unit > 0 ? static_cast<float>(key) * unit : std::bit_cast<float>(key << 16);
}

// A value of at least this one has at least this key; upper halves: if it is positive.
HWY_INLINE Key key_of(float value, float unit) {
  if (unit == 0) return static_cast<Key>(std::bit_cast<int32_t>(value) >> 16);
  const float key = std::floor(value / unit);
  return static_cast<Key>(std::clamp(key, 1 - 0x1p15F, 0x1p15F - 1));
}

HWY_INLINE float sum_of_lanes(V v) {
  return hn::GetLane(hn::SumOfLanes(D(), v));
}

// Four rows become one vector: lane 4 b + i is the sum of block b of row i.
HWY_INLINE V sum_four(V a, V b, V c, V e) {
  const D d;
  const hn::Repartition<uint64_t, D> d64;
  const V ab = hn::Add(hn::InterleaveLower(d, a, b), hn::InterleaveUpper(d, a, b));
  const V ce = hn::Add(hn::InterleaveLower(d, c, e), hn::InterleaveUpper(d, c, e));
  const auto ab64 = hn::BitCast(d64, ab), ce64 = hn::BitCast(d64, ce);
  return hn::Add(hn::BitCast(d, hn::InterleaveLower(d64, ab64, ce64)),
                 hn::BitCast(d, hn::InterleaveUpper(d64, ab64, ce64)));
}

// Lane i of the result is the sum of the lanes of row i; four(i) is sum_four() of rows i to i + 3.
template <class Four>
HWY_INLINE V sum_fours(const Four& four) {
  const D d;
  if constexpr (kN == 4) {
    return four(0);
  } else if constexpr (kN == 8) {
    const V low = four(0), high = four(4);
    return hn::Add(hn::ConcatLowerLower(d, high, low), hn::ConcatUpperUpper(d, high, low));
  } else {
    // Halves first, then neighbouring blocks; the middle groups change places on the way.
    const V g0 = four(0), g1 = four(8), g2 = four(4), g3 = four(12);
    const V h0 = hn::Add(hn::ConcatLowerLower(d, g1, g0), hn::ConcatUpperUpper(d, g1, g0));
    const V h1 = hn::Add(hn::ConcatLowerLower(d, g3, g2), hn::ConcatUpperUpper(d, g3, g2));
    return hn::Add(hn::OddEvenBlocks(hn::SwapAdjacentBlocks(h1), h0),
                   hn::OddEvenBlocks(h1, hn::SwapAdjacentBlocks(h0)));
  }
}

// The same of rows in memory, kLanes floats apart.
HWY_INLINE V sum_rows(const float* HWY_RESTRICT rows) {
  const D d;
  return sum_fours([&](int64_t first) HWY_ATTR {
    const float* p = rows + first * kLanes;
    return sum_four(hn::Load(d, p), hn::Load(d, p + kLanes), hn::Load(d, p + 2 * kLanes),
                    hn::Load(d, p + 3 * kLanes));
  });
}

}  // namespace branchsae::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
