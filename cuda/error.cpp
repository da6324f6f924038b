#include "cuda/error.h"

#include <fmt/format.h>

#include "engine/error.h"

namespace branchsae::cuda {

void check(cudaError_t status, std::string_view doing, std::source_location place) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // what it returns is `status` again, or nothing; the call resets CUDA's own record
  throw DeviceError(fmt::format("{}: {}", doing, cudaGetErrorString(status)),
                    fmt::format("{} at {}:{}", cudaGetErrorName(status), place.file_name(), place.line()));
}

void check_launch(cudaStream_t stream, std::string_view kernel, std::source_location place) {
  check(cudaGetLastError(), fmt::format("launch {}", kernel), place);
#ifndef NDEBUG
  check(cudaStreamSynchronize(stream), fmt::format("run {}", kernel), place);
#else
  static_cast<void>(stream);
#endif
}

}  // namespace branchsae::cuda
