#pragma once
// softmax: over the channels of images of one pixel; the largest number is taken off first.
// Work     three passes over a row that stays in the first-level cache: 256 rows of 1000: negligible
// Launch   a warp a row, 8 a block
// Order    fixed: each lane's channels in order, then a butterfly over the lanes
#include "cuda/kernels/nhwc.cuh"

namespace branchsae::cuda {

constexpr int kSoftmaxRows = 8;

template <class T>
__global__ void softmax_kernel(Nhwc<const T> src, Nhwc<T> dst) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kSoftmaxRows + warp_id();
  if (row >= src.images) return;  // the whole warp
  const T* from = src.data + row * src.pixel_stride;
  T* to = dst.data + row * dst.pixel_stride;
  float largest = as_float(0xff800000U);
  for (int c = lane_id(); c < src.channels; c += kWarp) {
    const float value = to_float(from[c]);
    largest = value > largest ? value : largest;
  }
#pragma unroll
  for (int mask = kWarp / 2; mask > 0; mask /= 2) {
    const float other = shuffle_xor(largest, mask);
    largest = other > largest ? other : largest;
  }
  float sum = 0.0F;
  for (int c = lane_id(); c < src.channels; c += kWarp) sum += exponential(to_float(from[c]) - largest);
  sum = warp_sum(sum);
  const int padded = groups_of(dst) * kGroup<T>;
  for (int c = lane_id(); c < padded; c += kWarp) {
    store_one(to + c, c < src.channels ? divide(exponential(to_float(from[c]) - largest), sum) : 0.0F);
  }
}

}  // namespace branchsae::cuda
