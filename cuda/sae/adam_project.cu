#include "cuda/sae/adam_project.h"

#include "cuda/kernels/adam_project.cuh"
#include "cuda/launch.h"

namespace branchsae::cuda {

void add_adam_project_work(int32_t index, const SaeDesc& sae, std::vector<WorkItem>& work) {
  for (int32_t tile = 0; tile < sae.adam_blocks; ++tile) work.push_back({index, tile});
}

void adam_project(cudaStream_t stream, const SaeDesc* saes, WorkList work, const GradientArrays& gradients) {
  launch(adam_project_kernel, "adam_project",
         {.grid = work.count, .block = kAdamWarps * kWarp, .smem_bytes = smem_bytes<float>(kMaxAdamLatents)},
         stream, saes, work, gradients);
}

}  // namespace branchsae::cuda
