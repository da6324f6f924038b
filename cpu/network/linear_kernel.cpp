#include "cpu/network/linear_kernel.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/network/linear_kernel.cpp"
#include <hwy/foreach_target.h>
// After foreach_target: these depend on the target.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace branchsae::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// Sums of so many products are added up: rounding errors then grow with the square root of 256 plus that of
/// the number of stretches.
constexpr int64_t kStretch = 256;

/// One vector of outputs for kImages images. Everything in `sum` and `total` stays in registers.
template <int kImages, class D>
void linear_vector(D d, const LinearTile& tile, int64_t first_image, int64_t lane) {
  using V = hn::VFromD<D>;
  V total[kImages];
  for (V& value : total) value = hn::LoadU(d, tile.bias + lane);
  for (int64_t begin = 0; begin < tile.inputs; begin += kStretch) {
    const int64_t end = std::min(begin + kStretch, tile.inputs);
    V sum[kImages];
    for (V& value : sum) value = hn::Zero(d);
    for (int64_t k = begin; k < end; ++k) {
      const V weight = hn::LoadU(d, tile.weight + k * kLinearOutputs + lane);
      for (int i = 0; i < kImages; ++i) {
        sum[i] = hn::MulAdd(weight, hn::Set(d, tile.src[first_image + i][k]), sum[i]);
      }
    }
    for (int i = 0; i < kImages; ++i) total[i] = hn::Add(total[i], sum[i]);
  }
  for (int i = 0; i < kImages; ++i) {
    const V value = tile.relu ? hn::Max(total[i], hn::Zero(d)) : total[i];
    hn::StoreU(value, d, tile.dst[first_image + i] + lane);
  }
}

template <int kImages>
void linear_images(const LinearTile& tile, int64_t first_image) {
  const hn::CappedTag<float, kLinearOutputs> d;
  for (int64_t lane = 0; lane < kLinearOutputs; lane += static_cast<int64_t>(hn::Lanes(d))) {
    linear_vector<kImages>(d, tile, first_image, lane);
  }
}

void LinearTileKernel(const LinearTile& tile) {
  int64_t image = 0;
  for (; image + 8 <= tile.images; image += 8) linear_images<8>(tile, image);
  for (; image + 4 <= tile.images; image += 4) linear_images<4>(tile, image);
  for (; image < tile.images; ++image) linear_images<1>(tile, image);
}

}  // namespace branchsae::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace branchsae::cpu {

HWY_EXPORT(LinearTileKernel);
void linear_tile(const LinearTile& tile) {
  HWY_DYNAMIC_DISPATCH(LinearTileKernel)(tile);
}

}  // namespace branchsae::cpu
#endif
