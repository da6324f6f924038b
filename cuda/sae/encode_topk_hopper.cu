#include "cuda/kernels/encode_topk_hopper.cuh"

#include "cuda/launch.h"
#include "cuda/sae/encode_kernels.h"

namespace branchsae::cuda {

void encode_hopper(cudaStream_t stream, const EncodeVariant& variant, const SaeDesc* saes, WorkList work,
                   const EncodeTarget& target, int64_t most_smem_bytes) {
  HopperShape shape{variant.width / kBoxColumns, kMostHopperStages};
  while (shape.stages > 1 && shape.smem_bytes() > most_smem_bytes) --shape.stages;
  launch(encode_topk_hopper_kernel, "encode_topk_hopper",
         {.grid = work.count, .block = kHopperThreads, .smem_bytes = shape.smem_bytes()}, stream, saes, work,
         target, variant.splits, shape);
}

std::vector<TensorMap> encode_maps(const SaeDesc& sae) {
  return {make_tensor_map(sae.x, sae.rows_padded, sae.d_padded, sae.d_padded, kHopperRows),
          make_tensor_map(sae.w16, sae.n_padded, sae.d_padded, sae.d_padded, kHopperLatents)};
}

}  // namespace branchsae::cuda
