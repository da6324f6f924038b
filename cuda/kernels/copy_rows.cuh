#pragma once
// copy_rows: dst[i, j] = src[rows[i], j], or src[i, j] when rows is null; f32, any strides.
// Work     reads and writes 4 * count * d bytes, and 4 * count for rows: bound by memory
// Launch   any 1-D grid and block; threads stride over the count * d elements, neighbours take neighbouring
//          columns
// Limits   rows[i] within src is the caller's duty; src and dst must not overlap
#include <cstdint>

namespace branchsae::cuda {

/// A matrix in device memory; strides in elements.
template <class T>
struct Rows {
  T* data;
  int64_t row_stride, column_stride;
};

__global__ void copy_rows_kernel(Rows<const float> src, const int32_t* rows, int64_t rows_stride,
                                 Rows<float> dst, int64_t count, int64_t d) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; at < count * d; at += step) {
    const int64_t i = at / d;
    const int64_t j = at - i * d;
    const int64_t from = rows == nullptr ? i : rows[i * rows_stride];
    dst.data[i * dst.row_stride + j * dst.column_stride] =
        src.data[from * src.row_stride + j * src.column_stride];
  }
}

}  // namespace branchsae::cuda
