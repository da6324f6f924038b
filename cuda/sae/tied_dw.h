#pragma once
/// Gradients of the weights' rows from sorted pairs; untied weights too.
#include <cuda_runtime_api.h>

#include <compare>
#include <vector>

#include "cuda/sae/sae_desc.h"

namespace branchsae::cuda {

struct TiedDwVariant {
  bool bf16 = false;
  bool tied = true;
  int32_t rows = 0;  ///< of a group in shared memory; 0: gathers from all of ex
  auto operator<=>(const TiedDwVariant&) const = default;
};

TiedDwVariant tied_dw_variant(const SaeDesc& sae);
void add_tied_dw_work(int32_t index, const SaeDesc& sae, std::vector<WorkItem>& work);

/// Reads   pairs, pair_begin, ex
/// Writes  dw, dw_dec (untied), db_enc, and with rows == 0 their carries; of latents with pairs
/// Stream  enqueues, never synchronises
/// Throws  DeviceError on launch
void tied_dw(cudaStream_t stream, const TiedDwVariant& variant, const SaeDesc* saes, WorkList work);

}  // namespace branchsae::cuda
