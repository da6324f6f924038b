#pragma once
/// The batch's pairs (token, latent) by latent, in the order of tokens within one: three launches, in order.
#include <cuda_runtime_api.h>

#include <vector>

#include "cuda/sae/sae_desc.h"

namespace branchsae::cuda {

void add_count_pairs_work(int32_t index, const SaeDesc& sae, std::vector<WorkItem>& work);
void add_scan_pairs_work(int32_t index, const SaeDesc& sae, std::vector<WorkItem>& work);
void add_place_pairs_work(int32_t index, const SaeDesc& sae, std::vector<WorkItem>& work);

/// count_pairs  indices -> pair_counts
/// scan_pairs   pair_counts -> pair_counts (scanned), pair_starts, chunk_counts
/// place_pairs  values, indices, pair_g and these -> pairs, pair_begin
/// Reads   also AuxK's, when it runs in this step
/// Stream  enqueue, never synchronise
/// Throws  DeviceError on launch
void count_pairs(cudaStream_t stream, const SaeDesc* saes, WorkList work);
void scan_pairs(cudaStream_t stream, const SaeDesc* saes, WorkList work);
void place_pairs(cudaStream_t stream, const SaeDesc* saes, WorkList work);

}  // namespace branchsae::cuda
