// The shared cases of autoencoders on the CUDA backend, emulated or real.
#include "tests/sae_cases/sae_device.h"

#include "cuda/cuda_backend.h"
#include "tests/cuda/kernel_test.h"

namespace branchsae::test {

Backend& sae_backend(int) {
  static const std::unique_ptr<Backend> backend = cuda::make_backend(0, 1);
  return *backend;
}

void for_each_level(const std::function<void()>& body) {
  body();
}

bool slow_device() {
  return cuda::test::emulated();
}

}  // namespace branchsae::test
