#pragma once
// lrn: local response normalisation across channels, dst = src / (bias + alpha / size * sum src^2)^beta over
// `size` channels, floor((size - 1) / 2) of them before.
// Work     one pass: 2 bytes read and written a channel in 16-bit (neighbouring groups come from the first
//          level cache), about 20 FLOP. 256 images of 56 x 56 x 64: 206 MB, 49 us at 4.2 TB/s. Not measured
//          on a GPU.
// Launch   a thread for each group of dst, 256 a block. kSize 5: the group's window of squares lies in
//          registers; kSize 0: any size, squares are read again for every channel
// Order    every output on its own; beta 0.75 by two square roots, as on the CPU
#include "cuda/kernels/nhwc.cuh"

namespace branchsae::cuda {

struct LrnNumbers {
  float alpha_over_size, beta, bias;
  int32_t size;  ///< used with kSize 0
};

template <bool kThreeQuarters>
BRANCHSAE_DEVICE float normalise(float value, float sum, const LrnNumbers& numbers) {
  const float base = fma(numbers.alpha_over_size, sum, numbers.bias);
  if constexpr (kThreeQuarters) {
    const float r = divide(1.0F, square_root(base));
    return value * (r * square_root(r));
  } else {
    return divide(value, power(base, numbers.beta));
  }
}

/// Squares of one group; zeros where it does not exist.
template <class T>
BRANCHSAE_DEVICE void square_group(const Nhwc<const T>& src, int64_t pixel, int group,
                                   float (&squares)[kGroup<T>]) {
  if (group < 0 || group >= groups_of(src)) {
#pragma unroll
    for (int i = 0; i < kGroup<T>; ++i) squares[i] = 0.0F;
    return;
  }
  load_group(group_address(src, pixel, group), squares);
#pragma unroll
  for (int i = 0; i < kGroup<T>; ++i) squares[i] = squares[i] * squares[i];
}

template <class T, int kSize, bool kThreeQuarters>
__global__ void lrn_kernel(Nhwc<const T> src, Nhwc<T> dst, LrnNumbers numbers) {
  constexpr int kCount = kGroup<T>;
  const GroupPlace place = group_place(dst);
  if (!place.exists) return;
  float v[kCount];
  load_group(group_address(src, place.pixel, place.group), v);
  if constexpr (kSize == 5) {
    float near[3][kCount], window[kCount + 4];
#pragma unroll
    for (int i = 0; i < 3; ++i) square_group(src, place.pixel, place.group + i - 1, near[i]);
#pragma unroll
    for (int i = 0; i < kCount + 4; ++i) {
      const int at = i + kCount - 2;
      window[i] = near[at / kCount][at % kCount];
    }
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const float sum = ((window[i] + window[i + 1]) + (window[i + 3] + window[i + 4])) + window[i + 2];
      v[i] = normalise<kThreeQuarters>(v[i], sum, numbers);
    }
  } else {
    const T* pixel = src.data + place.pixel * src.pixel_stride;
    const int32_t before = (numbers.size - 1) / 2;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const int32_t first = place.group * kCount + i - before;
      float sum = 0.0F;
      for (int32_t c = first; c < first + numbers.size; ++c) {
        if (c < 0 || c >= src.channels) continue;
        const float neighbour = to_float(pixel[c]);
        sum += neighbour * neighbour;
      }
      v[i] = normalise<kThreeQuarters>(v[i], sum, numbers);
    }
  }
  clear_padding(v, place.group, dst.channels);
  store_group(group_address(dst, place.pixel, place.group), v);
}

}  // namespace branchsae::cuda
