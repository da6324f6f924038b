#pragma once
/// CUDA calls that fail become DeviceError.
#include <cuda_runtime_api.h>

#include <source_location>
#include <string_view>

namespace branchsae::cuda {

/// Throws DeviceError (MemoryError when memory is spent) when `status` is an error: what() says what was
/// being done and CUDA's reason, detail() the error's name and the place. Clears CUDA's error state, so that
/// the next call does not report this error again. doing  as in "copy 80 bytes to cuda:0"
void check(cudaError_t status, std::string_view doing,
           std::source_location place = std::source_location::current());

/// Checks a kernel launch: the launch itself always; with sync_debug() also what it did (synchronises).
void check_launch(cudaStream_t stream, std::string_view kernel,
                  std::source_location place = std::source_location::current());

}  // namespace branchsae::cuda
