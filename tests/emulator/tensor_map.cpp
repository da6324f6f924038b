/// Twin of cuda/tensor_map.cpp: what a driver would refuse is refused here, too.
#include "cuda/tensor_map.h"

#include <fmt/format.h>

#include <cstring>

#include "engine/error.h"
#include "tests/emulator/hopper.h"

namespace branchsae::cuda {

TensorMap make_tensor_map(const void* data, int64_t rows, int64_t columns, int64_t row_stride, int box_rows) {
  constexpr int64_t kMaxExtent = int64_t{1} << 32, kMaxStride = int64_t{1} << 40;
  const bool fits = reinterpret_cast<uintptr_t>(data) % 16 == 0 && data != nullptr && rows >= 1 &&
                    rows <= kMaxExtent && columns >= 1 && columns <= kMaxExtent && row_stride % 8 == 0 &&
                    row_stride >= 1 && row_stride * 2 < kMaxStride && box_rows >= 1 && box_rows <= 256;
  if (!fits) {
    throw DeviceError(fmt::format(
        "the driver refuses a TMA description of [{}, {}] 16-bit elements, row stride {}, boxes of "
        "{} rows: CUDA error 1",
        rows, columns, row_stride, box_rows));
  }
  TensorMap result{};
  const emulator::MatrixMap map{
      emulator::MatrixMap::kMagic, static_cast<const std::byte*>(data), rows, columns, row_stride, box_rows};
  static_assert(sizeof map <= sizeof result);
  std::memcpy(&result, &map, sizeof map);
  return result;
}

}  // namespace branchsae::cuda
