#include "cuda/error.h"

#include <fmt/format.h>

#include "engine/error.h"
#include "engine/sync_debug.h"

namespace branchsae::cuda {

void check(cudaError_t status, std::string_view doing, std::source_location place) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // what it returns is `status` again, or nothing; the call resets CUDA's own record
  const std::string message = fmt::format("{}: {}", doing, cudaGetErrorString(status));
  const std::string detail =
      fmt::format("{} at {}:{}", cudaGetErrorName(status), place.file_name(), place.line());
  if (status == cudaErrorMemoryAllocation) throw MemoryError(message, detail);
  throw DeviceError(message, detail);
}

void check_launch(cudaStream_t stream, std::string_view kernel, std::source_location place) {
  check(cudaGetLastError(), fmt::format("launch {}", kernel), place);
  if (sync_debug()) check(cudaStreamSynchronize(stream), fmt::format("run {}", kernel), place);
}

}  // namespace branchsae::cuda
