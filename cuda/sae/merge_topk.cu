#include "cuda/kernels/merge_topk.cuh"

#include "cuda/launch.h"
#include "cuda/sae/encode_topk.h"

namespace branchsae::cuda {

std::vector<WorkItem> merge_work(int32_t sae, const SaeDesc& desc, const EncodeVariant& variant) {
  std::vector<WorkItem> work;
  if (variant.splits == 1) return work;
  for (int32_t tile = 0; tile * kMergeRows < desc.max_batch; ++tile) work.push_back({sae, tile});
  return work;
}

void merge_topk(cudaStream_t stream, const SaeDesc* saes, WorkList work, const EncodeTarget& target) {
  launch(merge_topk_kernel, "merge_topk", {.grid = work.count, .block = kMergeRows * kWarp}, stream, saes,
         work, target);
}

}  // namespace branchsae::cuda
