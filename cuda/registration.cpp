/// Tells the engine that this build contains the CUDA backend.
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include "cuda/cuda_backend.h"
#include "cuda/device.h"
#include "engine/backend.h"

namespace branchsae::cuda {
namespace {

bool register_cuda() {
  register_backend({.kind = "cuda",
                    .unavailable = why_unavailable,
                    .make = [](int index, int threads) { return make_backend(index, threads); },
                    .build = fmt::format("CUDA {}.{}, architectures {}", CUDART_VERSION / 1000,
                                         CUDART_VERSION % 1000 / 10, BRANCHSAE_CUDA_ARCHITECTURES)});
  return true;
}

}  // namespace
}  // namespace branchsae::cuda

/// Named on the linker's command line, so that a static link keeps this file.
extern "C" {
extern const bool branchsae_cuda_backend;
const bool branchsae_cuda_backend = branchsae::cuda::register_cuda();
}
