#pragma once
// set_batches: the launch's own arguments become the batches of a step, in stream order: no host memory is
// read later that could have been overwritten meanwhile.
// Work     nothing; 1.2 us of a launch
// Launch   block kMostBatches, grid 1
#include "cuda/arch/warp.cuh"
#include "cuda/sae/sae_desc.h"

namespace branchsae::cuda {

constexpr int kMostBatches = 32;  ///< a launch's arguments may take 4 KiB

struct BatchArguments {
  SaeBatch batches[kMostBatches];
};
static_assert(sizeof(BatchArguments) + 32 <= 4096);

__global__ void __launch_bounds__(kMostBatches)
    set_batches_kernel(const SaeDesc* saes, int count, const BatchArguments arguments) {
  const int i = static_cast<int>(threadIdx.x);
  if (i < count) *saes[i].batch = arguments.batches[i];
}

}  // namespace branchsae::cuda
