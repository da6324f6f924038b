#include "cpu/network/im2row_kernel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/network/im2row_kernel.cpp"
#include <hwy/foreach_target.h>
// After foreach_target: these depend on the target.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace branchsae::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr int kPixels = 8;  ///< whose sums stay in registers
static_assert(kIm2rowPixels % kPixels == 0);

template <class D>
void multiply(D d, const Im2rowTile& tile, int64_t first_pixel, int64_t lane) {
  using V = hn::VFromD<D>;
  V sum[kPixels];
  for (V& value : sum) value = hn::LoadU(d, tile.bias + lane);
  for (int64_t k = 0; k < tile.inputs; ++k) {
    const V weight = hn::LoadU(d, tile.weight + k * kIm2rowOutputs + lane);
    const float* column = tile.columns + k * kIm2rowPixels + first_pixel;
    for (int p = 0; p < kPixels; ++p) sum[p] = hn::MulAdd(weight, hn::Set(d, column[p]), sum[p]);
  }
  for (int p = 0; p < kPixels; ++p) {
    const V value = tile.relu ? hn::Max(sum[p], hn::Zero(d)) : sum[p];
    hn::StoreU(value, d, tile.dst + (first_pixel + p) * kIm2rowOutputs + lane);
  }
}

void Im2rowTileKernel(const Im2rowTile& tile) {
  const hn::CappedTag<float, kIm2rowOutputs> d;
  for (int64_t lane = 0; lane < kIm2rowOutputs; lane += static_cast<int64_t>(hn::Lanes(d))) {
    for (int64_t pixel = 0; pixel < kIm2rowPixels; pixel += kPixels) multiply(d, tile, pixel, lane);
  }
}

}  // namespace branchsae::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace branchsae::cpu {

HWY_EXPORT(Im2rowTileKernel);
void im2row_tile(const Im2rowTile& tile) {
  HWY_DYNAMIC_DISPATCH(Im2rowTileKernel)(tile);
}

}  // namespace branchsae::cpu
#endif
