#pragma once
/// The first kernel of a step: tokens of any strides to padded rows of the encode's type.
#include <cuda_runtime_api.h>

#include <vector>

#include "cuda/sae/sae_desc.h"
#include "cuda/sae/workspace.h"

namespace branchsae::cuda {

enum class GatherVariant { kFloat, kBf16 };

/// Takes x, tile_squares and tile_token_sums. x must be zero once, before the first launch.
void plan_gather_tokens(SaeDesc& sae, Workspace& workspace);
GatherVariant gather_tokens_variant(const SaeDesc& sae);
/// An item is a tile of kGatherRows tokens.
void add_gather_tokens_work(int32_t index, const SaeDesc& sae, std::vector<WorkItem>& work);

/// batch->tokens -> x, tile_squares, tile_token_sums. Rows of x from batch->rows up to the next multiple of
/// kRowPadding become 0; what follows stays.
void gather_tokens(cudaStream_t stream, GatherVariant variant, const SaeDesc* saes, WorkList work);

}  // namespace branchsae::cuda
