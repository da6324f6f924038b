#pragma once
// pool: the largest or the mean of a sliding window of each channel. Padding never wins a maximum; means
// divide by the window's real elements, or by all inside the padded input.
// Work     kernel height x width loads of 16 bytes an output group, most from the first-level cache: bound by
//          memory. 256 images of 28 x 28 x 192 3x3 stride 1 in 16-bit: 154 MB, 37 us at 4.2 TB/s. Not
//          measured on a GPU.
// Launch   a thread for each group of dst, 256 a block
// Limits   every window sees a real element, or counts padding: so padding channels stay zero
// Order    every output on its own; a window's sum goes row by row in float. NaN wins a maximum
#include "cuda/kernels/nhwc.cuh"

namespace branchsae::cuda {

/// Index 0 is the height.
struct PoolWindow {
  int32_t kernel[2], stride[2], dilation[2], pad_begin[2], pad_end[2];
  int32_t count_padding;
};

/// How many of a window's positions along `axis` the mean counts.
BRANCHSAE_DEVICE int32_t counted(const PoolWindow& window, int axis, int32_t start, int32_t extent) {
  const int32_t low = window.count_padding != 0 ? -window.pad_begin[axis] : 0;
  const int32_t high = window.count_padding != 0 ? extent + window.pad_end[axis] : extent;
  int32_t count = 0;
  for (int32_t k = 0; k < window.kernel[axis]; ++k) {
    const int32_t at = start + k * window.dilation[axis];
    count += at >= low && at < high ? 1 : 0;
  }
  return count;
}

template <class T, bool kMax>
__global__ void pool_kernel(Nhwc<const T> src, Nhwc<T> dst, PoolWindow window) {
  const GroupPlace place = group_place(dst);
  if (!place.exists) return;
  const int32_t image_pixels = dst.height * dst.width;
  const int32_t n = static_cast<int32_t>(place.pixel / image_pixels);
  const int32_t at = static_cast<int32_t>(place.pixel - static_cast<int64_t>(n) * image_pixels);
  const int32_t top = at / dst.width * window.stride[0] - window.pad_begin[0];
  const int32_t left = at % dst.width * window.stride[1] - window.pad_begin[1];
  float result[kGroup<T>];
#pragma unroll
  for (int i = 0; i < kGroup<T>; ++i) result[i] = kMax ? as_float(0xff800000U) : 0.0F;
  for (int32_t ky = 0; ky < window.kernel[0]; ++ky) {
    const int32_t y = top + ky * window.dilation[0];
    if (y < 0 || y >= src.height) continue;
    for (int32_t kx = 0; kx < window.kernel[1]; ++kx) {
      const int32_t x = left + kx * window.dilation[1];
      if (x < 0 || x >= src.width) continue;
      const int64_t pixel = (static_cast<int64_t>(n) * src.height + y) * src.width + x;
      float v[kGroup<T>];
      load_group(group_address(src, pixel, place.group), v);
#pragma unroll
      for (int i = 0; i < kGroup<T>; ++i) {
        if constexpr (kMax) {
          result[i] = v[i] > result[i] || is_nan(v[i]) ? v[i] : result[i];
        } else {
          result[i] += v[i];
        }
      }
    }
  }
  if constexpr (!kMax) {
    const int32_t count = counted(window, 0, top, src.height) * counted(window, 1, left, src.width);
#pragma unroll
    for (int i = 0; i < kGroup<T>; ++i) result[i] = divide(result[i], static_cast<float>(count));
  }
  store_group(group_address(dst, place.pixel, place.group), result);
}

}  // namespace branchsae::cuda
