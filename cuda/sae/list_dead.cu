#include "cuda/kernels/list_dead.cuh"

#include "cuda/launch.h"
#include "cuda/sae/encode_topk.h"

namespace branchsae::cuda {

std::vector<WorkItem> list_dead_work(int32_t sae, const SaeDesc& desc) {
  if (desc.aux_k == 0) return {};
  return {{sae, 0}};
}

void list_dead(cudaStream_t stream, const SaeDesc* saes, WorkList work) {
  launch(list_dead_kernel, "list_dead",
         {.grid = work.count, .block = kListThreads, .smem_bytes = smem_bytes<int32_t>(kListWarps)}, stream,
         saes, work);
}

}  // namespace branchsae::cuda
