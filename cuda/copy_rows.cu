#include "cuda/copy_rows.h"

#include <algorithm>

#include "cuda/kernels/copy_rows.cuh"
#include "cuda/launch.h"
#include "engine/error.h"
#include "engine/shape.h"

namespace branchsae::cuda {
namespace {

constexpr int kBlock = 256;
constexpr int64_t kMaxGrid = 65'535;  // enough to fill any device; threads stride over the rest

std::string text(const std::array<int64_t, 2>& shape) {
  return to_string(std::span<const int64_t>(shape));
}

}  // namespace

void copy_rows(cudaStream_t stream, View<const float, 2> src, View<const int32_t, 1> rows,
               View<float, 2> dst) {
  const bool indexed = rows.data != nullptr;
  const int64_t count = dst.shape[0], d = dst.shape[1];
  if (src.shape[1] != d || (indexed ? rows.shape[0] != count : src.shape[0] != count)) {
    throw ShapeError("copy rows: source " + text(src.shape) + " does not fit destination " + text(dst.shape) +
                     (indexed ? " with " + std::to_string(rows.shape[0]) + " row numbers" : ""));
  }
  if (count == 0 || d == 0) return;
  const int64_t grid = std::min((count * d + kBlock - 1) / kBlock, kMaxGrid);
  launch(copy_rows_kernel, "copy_rows", {.grid = grid, .block = kBlock}, stream,
         {src.data, src.stride[0], src.stride[1]}, rows.data, rows.stride[0],
         {dst.data, dst.stride[0], dst.stride[1]}, count, d);
}

}  // namespace branchsae::cuda
