#pragma once
// copy_selection: contiguous selections [rows, k] into strided ones with as many slots or more.
// Work     16 bytes a slot
// Launch   any 1-D grid and block; threads stride over the rows x slots
#include "cuda/arch/warp.cuh"

namespace branchsae::cuda {

struct SelectionViews {
  const float* values;
  const int32_t* indices;
  int32_t k;
  float* to_values;
  int32_t* to_indices;
  int64_t value_strides[2], index_strides[2];
  int64_t rows, slots;  ///< slots from k on: 0 / -1
};

__global__ void copy_selection_kernel(SelectionViews views) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
       at < views.rows * views.slots; at += step) {
    const int64_t row = at / views.slots, slot = at - row * views.slots;
    const bool there = slot < views.k;
    views.to_values[row * views.value_strides[0] + slot * views.value_strides[1]] =
        there ? views.values[row * views.k + slot] : 0.0F;
    views.to_indices[row * views.index_strides[0] + slot * views.index_strides[1]] =
        there ? views.indices[row * views.k + slot] : -1;
  }
}

}  // namespace branchsae::cuda
