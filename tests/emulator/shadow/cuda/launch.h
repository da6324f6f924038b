#pragma once
/// Twin of cuda/launch.h: the kernel runs in the emulator, when its stream comes to it.
#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>
#include <string_view>
#include <tuple>
#include <type_traits>

#include "cuda/error.h"
#include "tests/emulator/runtime.h"

namespace branchsae::cuda {

struct LaunchShape {
  int64_t grid = 1;
  int block = 1;
  int64_t smem_bytes = 0;
};

template <class... Parameters>
void launch(void (*kernel)(Parameters...), std::string_view name, LaunchShape shape, cudaStream_t stream,
            std::type_identity_t<Parameters>... arguments) {
  if (shape.grid == 0) return;
  struct Bound {
    void (*kernel)(Parameters...);
    std::tuple<Parameters...> arguments;
  };
  // One copy of the arguments, taken now; each thread is handed its own, as on a device.
  emulator::KernelLaunch request{.name = std::string(name),
                                 .blocks = shape.grid,
                                 .threads = shape.block,
                                 .smem_bytes = shape.smem_bytes,
                                 .body =
                                     [](const void* bound) {
                                       const auto* self = static_cast<const Bound*>(bound);
                                       std::apply(self->kernel, self->arguments);
                                     },
                                 .arguments = std::make_shared<Bound>(Bound{kernel, {arguments...}})};
  check(emulator::enqueue(std::move(request), stream), name);
  check_launch(stream, name);
}

}  // namespace branchsae::cuda
