#pragma once
// elementwise: one function on every number: scale and shift per channel, ReLU, clip. What could not be fused
// into a convolution.
// Work     reads and writes the activations once: bound by memory
// Launch   a thread for each group of dst, 256 a block
// Limits   equal extents; scale and shift [channels padded to groups], zero beyond the channels
// Order    every output on its own; NaN stays NaN
#include "cuda/kernels/nhwc.cuh"

namespace branchsae::cuda {

enum class UnaryKind : int32_t { kAffine, kRelu, kClip };

struct UnaryNumbers {
  const float *scale, *shift;  ///< kAffine
  float low, high;             ///< kClip
};

template <class T, UnaryKind kKind>
__global__ void elementwise_kernel(Nhwc<const T> src, Nhwc<T> dst, UnaryNumbers numbers) {
  const GroupPlace place = group_place(dst);
  if (!place.exists) return;
  float v[kGroup<T>];
  load_group(group_address(src, place.pixel, place.group), v);
#pragma unroll
  for (int i = 0; i < kGroup<T>; ++i) {
    const int c = place.group * kGroup<T> + i;
    if constexpr (kKind == UnaryKind::kAffine) {
      v[i] = fma(load_read_only(numbers.scale + c), v[i], load_read_only(numbers.shift + c));
    } else if constexpr (kKind == UnaryKind::kRelu) {
      v[i] = v[i] < 0.0F ? 0.0F : v[i];
    } else {
      const float raised = v[i] < numbers.low ? numbers.low : v[i];
      v[i] = raised > numbers.high ? numbers.high : raised;
    }
  }
  clear_padding(v, place.group, dst.channels);
  store_group(group_address(dst, place.pixel, place.group), v);
}

}  // namespace branchsae::cuda
