// The shared cases of autoencoders on the CUDA backend, emulated or real.
#include "tests/sae_cases/sae_device.h"

#include "cuda/cuda_backend.h"
#include "tests/cuda/kernel_test.h"

namespace branchsae::test {

Backend& sae_backend(int) {
  // Never destroyed: at the end of the process the runtime may be gone before it.
  static Backend* const backend = cuda::make_backend(0, 1).release();
  return *backend;
}

void for_each_level(const std::function<void()>& body) {
  body();
}

void relax_checks() {
  cuda::test::relax_checks();
}

bool slow_device() {
  return cuda::test::emulated();
}

}  // namespace branchsae::test
