#pragma once
// global_average: the mean over all pixels of each channel of each image.
// Work     reads the activations once: 256 images of 7 x 7 x 1024 in 16-bit: 26 MB. Not measured on a GPU
// Launch   a thread for each group of dst (one pixel an image), 256 a block
// Order    fixed: float sums of 64 pixels, then of those
#include "cuda/kernels/nhwc.cuh"

namespace branchsae::cuda {

template <class T>
__global__ void global_average_kernel(Nhwc<const T> src, Nhwc<T> dst) {
  constexpr int32_t kRun = 64;
  const GroupPlace place = group_place(dst);
  if (!place.exists) return;
  const int32_t pixels = src.height * src.width;
  float total[kGroup<T>] = {};
  for (int32_t begin = 0; begin < pixels; begin += kRun) {
    const int32_t end = begin + kRun < pixels ? begin + kRun : pixels;
    float run[kGroup<T>] = {};
    for (int32_t p = begin; p < end; ++p) {
      float v[kGroup<T>];
      load_group(group_address(src, place.pixel * pixels + p, place.group), v);
#pragma unroll
      for (int i = 0; i < kGroup<T>; ++i) run[i] += v[i];
    }
#pragma unroll
    for (int i = 0; i < kGroup<T>; ++i) total[i] += run[i];
  }
#pragma unroll
  for (int i = 0; i < kGroup<T>; ++i) total[i] = divide(total[i], static_cast<float>(pixels));
  store_group(group_address(dst, place.pixel, place.group), total);
}

}  // namespace branchsae::cuda
