#pragma once
// binary: sum, difference, product or quotient of two activations of equal extents.
// Work     reads two and writes one: bound by memory
// Launch   a thread for each group of dst, 256 a block
// Order    every output on its own
#include "cuda/kernels/nhwc.cuh"

namespace branchsae::cuda {

enum class BinaryKind : int32_t { kAdd, kSubtract, kMultiply, kDivide };

BRANCHSAE_DEVICE float combine(BinaryKind kind, float left, float right) {
  switch (kind) {
    case BinaryKind::kAdd:
      return left + right;
    case BinaryKind::kSubtract:
      return left - right;
    case BinaryKind::kMultiply:
      return left * right;
    case BinaryKind::kDivide:
      break;
  }
  return divide(left, right);
}

template <class T>
__global__ void binary_kernel(BinaryKind kind, Nhwc<const T> left, Nhwc<const T> right, Nhwc<T> dst) {
  const GroupPlace place = group_place(dst);
  if (!place.exists) return;
  float a[kGroup<T>], b[kGroup<T>];
  load_group(group_address(left, place.pixel, place.group), a);
  load_group(group_address(right, place.pixel, place.group), b);
#pragma unroll
  for (int i = 0; i < kGroup<T>; ++i) a[i] = combine(kind, a[i], b[i]);
  clear_padding(a, place.group, dst.channels);
  store_group(group_address(dst, place.pixel, place.group), a);
}

}  // namespace branchsae::cuda
