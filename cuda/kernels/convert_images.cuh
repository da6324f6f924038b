#pragma once
// convert_images: preprocessed float images with any strides -> the network's input, NHWC.
//   dst[n][y][x][c] = src[n][y][x][c]; padding channels and images beyond `count` are 0
// Work     4 C bytes read, 2 or 4 C (padded) written a pixel: bound by memory
// Launch   a thread for each group of dst, 256 a block
// Order    every output on its own
#include "cuda/kernels/nhwc.cuh"

namespace branchsae::cuda {

/// [count, height, width, channels] float with strides in elements.
struct StridedImages {
  const float* data;
  int64_t stride[4];
  int32_t count;
};

template <class T>
__global__ void convert_images_kernel(StridedImages src, Nhwc<T> dst) {
  const GroupPlace place = group_place(dst);
  if (!place.exists) return;
  const int32_t image_pixels = dst.height * dst.width;
  const int64_t n = place.pixel / image_pixels;
  const int32_t at = static_cast<int32_t>(place.pixel - n * image_pixels);
  const int32_t y = at / dst.width, x = at - y * dst.width;
  const float* from = src.data + n * src.stride[0] + y * src.stride[1] + x * src.stride[2];
  float v[kGroup<T>] = {};
#pragma unroll
  for (int i = 0; i < kGroup<T>; ++i) {
    const int32_t c = place.group * kGroup<T> + i;
    if (n < src.count && c < dst.channels) v[i] = from[c * src.stride[3]];
  }
  store_group(group_address(dst, place.pixel, place.group), v);
}

}  // namespace branchsae::cuda
