#include "cuda/sae/gather_tokens.h"

#include "cuda/kernels/gather_tokens.cuh"
#include "cuda/launch.h"

namespace branchsae::cuda {

void plan_gather_tokens(SaeDesc& sae, Workspace& workspace) {
  const int64_t elements = int64_t{sae.rows_padded} * sae.d_padded, tiles = sae.rows_padded / kGatherRows;
  if (sae.precision == Precision::kBf16)
    sae.x = workspace.take<Bf16>(elements, "batch");
  else
    sae.x = workspace.take<float>(elements, "batch");
  sae.tile_squares = workspace.take<double>(tiles, "batch");
  sae.tile_token_sums = workspace.take<float>(tiles * sae.d_padded, "batch");
}

GatherVariant gather_tokens_variant(const SaeDesc& sae) {
  return sae.precision == Precision::kBf16 ? GatherVariant::kBf16 : GatherVariant::kFloat;
}

void add_gather_tokens_work(int32_t index, const SaeDesc& sae, std::vector<WorkItem>& work) {
  for (int32_t tile = 0; tile < sae.rows_padded / kGatherRows; ++tile) work.push_back({index, tile});
}

void gather_tokens(cudaStream_t stream, GatherVariant variant, const SaeDesc* saes, WorkList work) {
  const auto kernel =
      variant == GatherVariant::kBf16 ? gather_tokens_kernel<Bf16> : gather_tokens_kernel<float>;
  const int64_t smem = smem_bytes<float>(kGatherPart * kGatherStride) + smem_bytes<double>(kGatherWarps);
  launch(kernel, "gather_tokens", {.grid = work.count, .block = kGatherBlock, .smem_bytes = smem}, stream,
         saes, work);
}

}  // namespace branchsae::cuda
