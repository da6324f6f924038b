#include "cuda/tensor_map.h"

#include <cuda.h>
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <cstring>

#include "cuda/error.h"
#include "engine/error.h"

namespace branchsae::cuda {
namespace {

static_assert(sizeof(TensorMap) == sizeof(CUtensorMap) && alignof(TensorMap) >= alignof(CUtensorMap));

using Encode = decltype(&cuTensorMapEncodeTiled);

/// Asked for at run time: nothing of ours is linked with the driver.
Encode find_encode() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
#if CUDART_VERSION >= 12050
  const cudaError_t status =
      cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found);
#else
  const cudaError_t status =
      cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &function, cudaEnableDefault, &found);
#endif
  check(status, "ask the driver for cuTensorMapEncodeTiled");
  if (found != cudaDriverEntryPointSuccess || function == nullptr)
    throw DeviceError("the CUDA driver is too old: it has no cuTensorMapEncodeTiled (CUDA 12.0)");
  return reinterpret_cast<Encode>(function);
}

}  // namespace

TensorMap make_tensor_map(const void* data, int64_t rows, int64_t columns, int64_t row_stride, int box_rows) {
  static const Encode encode = find_encode();
  const cuuint64_t extents[] = {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(rows)};
  const cuuint64_t strides[] = {
      static_cast<cuuint64_t>(row_stride * 2)};  // bytes, of all dimensions but the first
  const cuuint32_t box[] = {kBoxColumns, static_cast<cuuint32_t>(box_rows)};
  const cuuint32_t steps[] = {1, 1};
  CUtensorMap map{};
  const CUresult status =
      encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, const_cast<void*>(data), extents, strides, box, steps,
             CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
             CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS) {
    throw DeviceError(fmt::format(
        "the driver refuses a TMA description of [{}, {}] 16-bit elements, row stride {}, boxes of "
        "{} rows: CUDA error {}",
        rows, columns, row_stride, box_rows, static_cast<int>(status)));
  }
  TensorMap result;
  std::memcpy(&result, &map, sizeof map);
  return result;
}

}  // namespace branchsae::cuda
