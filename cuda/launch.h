#pragma once
/// Kernel launches. Kernels are never launched with <<<>>>: this way they are checked, and the SIMT
/// emulator's twin of this file can run them.
#include <cuda_runtime_api.h>

#include <cstdint>
#include <string_view>
#include <type_traits>

#include "cuda/error.h"

namespace branchsae::cuda {

struct LaunchShape {
  int64_t grid = 1;        ///< blocks, along x; 0: nothing is launched
  int block = 1;           ///< threads, along x
  int64_t smem_bytes = 0;  ///< dynamic shared memory; above 48 KiB the kernel is allowed it first
};

/// Enqueues `kernel` with arguments converted to its parameters' types. Throws DeviceError naming the kernel.
template <class... Parameters>
void launch(void (*kernel)(Parameters...), std::string_view name, LaunchShape shape, cudaStream_t stream,
            std::type_identity_t<Parameters>... arguments) {
  if (shape.grid == 0) return;
  const void* function = reinterpret_cast<const void*>(kernel);
  constexpr int64_t kFreeBytes = 48 * 1024;
  if (shape.smem_bytes > kFreeBytes) {
    check(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shape.smem_bytes)),
          name);
  }
  void* pointers[] = {static_cast<void*>(&arguments)...};
  check(cudaLaunchKernel(function, dim3(static_cast<unsigned>(shape.grid)),
                         dim3(static_cast<unsigned>(shape.block)), pointers,
                         static_cast<size_t>(shape.smem_bytes), stream),
        name);
  check_launch(stream, name);
}

}  // namespace branchsae::cuda
