/// Stands in for the CUDA backend in a build without it.
#include "engine/backend.h"
#include "engine/error.h"

namespace branchsae::cuda {
namespace {

constexpr const char* kReason = "this build has no CUDA";

bool register_absence() {
  register_backend({.kind = "cuda",
                    .unavailable = [] { return std::string(kReason); },
                    .make = [](int, int) -> std::unique_ptr<Backend> { throw DeviceError(kReason); },
                    .build = "none",
                    .complete = false});
  return true;
}

}  // namespace
}  // namespace branchsae::cuda

/// Named on the linker's command line, so that a static link keeps this file.
extern "C" {
extern const bool branchsae_cuda_backend;
const bool branchsae_cuda_backend = branchsae::cuda::register_absence();
}
