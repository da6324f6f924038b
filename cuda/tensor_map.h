#pragma once
/// Descriptions of matrices for TMA, the copy engine of compute capability 9.0 and newer.
#include <cstdint>

namespace branchsae::cuda {

/// Made on the host, read by the copy engine: from a kernel's parameter (const __grid_constant__) or from
/// device memory at a multiple of 128 bytes. Its contents are the driver's.
struct alignas(128) TensorMap {
  uint64_t words[16];
};

/// Elements of a row of a box: 128 bytes, within which TMA permutes 16-byte pieces (128-byte swizzle).
constexpr int kBoxColumns = 64;

/// A matrix of 16-bit elements, copied in boxes of `box_rows` x kBoxColumns; what lies outside arrives as
/// zeros. data        device, 16-byte aligned row_stride  in elements, a multiple of 8 box_rows    1..256
/// Throws      DeviceError when the driver refuses or is too old
TensorMap make_tensor_map(const void* data, int64_t rows, int64_t columns, int64_t row_stride, int box_rows);

}  // namespace branchsae::cuda
