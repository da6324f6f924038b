#pragma once
// flatten: [N, H, W, C] -> float rows [N, C * H * W] in NCHW order.
// Work     reads and writes once; the reads are strided. Seldom run: linear layers flatten by themselves
// Launch   a thread for each group of dst, 256 a block
// Order    every output on its own
#include "cuda/kernels/nhwc.cuh"

namespace branchsae::cuda {

template <class T>
__global__ void flatten_kernel(Nhwc<const T> src, Nhwc<float> dst) {
  const GroupPlace place = group_place(dst);
  if (!place.exists) return;
  const int32_t pixels = src.height * src.width;
  float v[kGroup<float>] = {};
#pragma unroll
  for (int i = 0; i < kGroup<float>; ++i) {
    const int32_t at = place.group * kGroup<float> + i;
    if (at >= dst.channels) continue;
    const int64_t pixel = place.pixel * pixels + at % pixels;
    v[i] = to_float(src.data[pixel * src.pixel_stride + at / pixels]);
  }
  store_group(group_address(dst, place.pixel, place.group), v);
}

}  // namespace branchsae::cuda
