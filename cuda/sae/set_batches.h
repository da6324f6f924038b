#pragma once
/// Numbers of a step into device memory.
#include <cuda_runtime_api.h>

#include <span>

#include "cuda/sae/sae_desc.h"

namespace branchsae::cuda {

/// *saes[i].batch = batches[i]. The values travel in the launches' arguments: `batches` may be reused at
/// once.
void set_batches(cudaStream_t stream, const SaeDesc* saes, std::span<const SaeBatch> batches);

}  // namespace branchsae::cuda
