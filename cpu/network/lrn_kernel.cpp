#include "cpu/network/lrn_kernel.h"

#include <cmath>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/network/lrn_kernel.cpp"
#include <hwy/foreach_target.h>
// After foreach_target: these depend on the target.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace branchsae::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// v^-0.5 to within 2 ulp: the estimate has 12 bits at least (14 with AVX-512), each Newton step doubles
/// them.
template <class D, class V>
V inverse_root(D d, V v) {
  const auto half = hn::Mul(hn::Set(d, 0.5F), v), three_halves = hn::Set(d, 1.5F);
  auto r = hn::ApproximateReciprocalSqrt(v);
  r = hn::Mul(r, hn::NegMulAdd(hn::Mul(half, r), r, three_halves));
#if HWY_TARGET > HWY_AVX3
  r = hn::Mul(r, hn::NegMulAdd(hn::Mul(half, r), r, three_halves));
#endif
  return r;
}

struct PowerThreeQuarters {
  template <class D, class V>
  static V apply(D d, V src, V base, float) {
    const auto r = inverse_root(d, base);
    // Squares of numbers beyond 1.8e19 overflow: the quotient is then 0, as a division by infinity gives it.
    // Newton's step would say 0 * infinity.
    const auto overflows = hn::Eq(base, hn::Set(d, std::numeric_limits<float>::infinity()));
    return hn::Mul(src, hn::IfThenZeroElse(overflows, hn::Mul(r, hn::Sqrt(r))));
  }
};

struct PowerAny {
  template <class D, class V>
  static V apply(D d, V src, V base, float beta) {
    HWY_ALIGN float lanes[16];
    hn::Store(base, d, lanes);
    for (size_t i = 0; i < hn::Lanes(d); ++i) lanes[i] = std::pow(lanes[i], beta);
    return hn::Div(src, hn::Load(d, lanes));
  }
};

template <class D>
void write_squares(D d, const LrnTile& tile) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t block = 0; block < tile.blocks; ++block) {
    const float* src = tile.src + block * tile.plane_size;
    float* squares = tile.squares + tile.before + block * tile.block;
    for (int64_t pixel = 0; pixel < tile.pixels; ++pixel) {
      for (int64_t lane = 0; lane < tile.block; lane += lanes) {
        const auto v = hn::LoadU(d, src + pixel * tile.block + lane);
        hn::StoreU(hn::Mul(v, v), d, squares + pixel * tile.pitch + lane);
      }
    }
  }
}

template <class D, class V = hn::VFromD<D>>
V window_sum(D d, const float* squares, int64_t size) {
  if (size == 5) {  // the usual size, without a loop
    const auto low = hn::Add(hn::LoadU(d, squares), hn::LoadU(d, squares + 1));
    const auto high = hn::Add(hn::LoadU(d, squares + 3), hn::LoadU(d, squares + 4));
    return hn::Add(hn::Add(low, high), hn::LoadU(d, squares + 2));
  }
  auto sum = hn::Zero(d);
  for (int64_t i = 0; i < size; ++i) sum = hn::Add(sum, hn::LoadU(d, squares + i));
  return sum;
}

template <class Power, class D>
void normalise(D d, const LrnTile& tile) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto scale = hn::Set(d, tile.alpha_over_size), bias = hn::Set(d, tile.bias);
  for (int64_t block = 0; block < tile.blocks; ++block) {
    for (int64_t pixel = 0; pixel < tile.pixels; ++pixel) {
      for (int64_t lane = 0; lane < tile.block; lane += lanes) {
        const int64_t at = block * tile.plane_size + pixel * tile.block + lane;
        const float* squares = tile.squares + pixel * tile.pitch + block * tile.block + lane;
        const auto base = hn::MulAdd(scale, window_sum(d, squares, tile.size), bias);
        hn::StoreU(Power::apply(d, hn::LoadU(d, tile.src + at), base, tile.beta), d, tile.dst + at);
      }
    }
  }
}

template <int kBlock>
void lrn_blocks(const LrnTile& tile) {
  const hn::CappedTag<float, kBlock> d;
  write_squares(d, tile);
  if (tile.beta == 0.75F) return normalise<PowerThreeQuarters>(d, tile);
  normalise<PowerAny>(d, tile);
}

void LrnTileKernel(const LrnTile& tile) {
  if (tile.block == 16) return lrn_blocks<16>(tile);
  if (tile.block == 8) return lrn_blocks<8>(tile);
  lrn_blocks<1>(tile);
}

}  // namespace branchsae::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace branchsae::cpu {

HWY_EXPORT(LrnTileKernel);
void lrn_tile(const LrnTile& tile) {
  HWY_DYNAMIC_DISPATCH(LrnTileKernel)(tile);
}

}  // namespace branchsae::cpu
#endif
