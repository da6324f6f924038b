#pragma once
// copy_image: moves activations into a frame: constant padding, cropping, other pixel strides.
//   dst[n][y][x] = src[n][y - top][x - left] where that exists, else `value`; padding channels are 0
// Work     reads and writes the activations once: bound by memory
// Launch   a thread for each group of dst, 256 a block
// Limits   equal images and channels; top and left may be negative (cropping)
// Order    every output on its own
#include "cuda/kernels/nhwc.cuh"

namespace branchsae::cuda {

template <class T>
__global__ void copy_image_kernel(Nhwc<const T> src, Nhwc<T> dst, int32_t top, int32_t left, float value) {
  const GroupPlace place = group_place(dst);
  if (!place.exists) return;
  const int32_t image_pixels = dst.height * dst.width;
  const int32_t n = static_cast<int32_t>(place.pixel / image_pixels);
  const int32_t at = static_cast<int32_t>(place.pixel - static_cast<int64_t>(n) * image_pixels);
  const int32_t y = at / dst.width - top, x = at % dst.width - left;
  float v[kGroup<T>];
  if (y >= 0 && y < src.height && x >= 0 && x < src.width) {
    const int64_t pixel = (static_cast<int64_t>(n) * src.height + y) * src.width + x;
    load_group(group_address(src, pixel, place.group), v);
  } else {
#pragma unroll
    for (int i = 0; i < kGroup<T>; ++i) v[i] = value;
  }
  clear_padding(v, place.group, dst.channels);
  store_group(group_address(dst, place.pixel, place.group), v);
}

}  // namespace branchsae::cuda
