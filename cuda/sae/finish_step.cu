#include "cuda/sae/finish_step.h"

#include "cuda/kernels/check_step.cuh"
#include "cuda/kernels/finish_step.cuh"
#include "cuda/launch.h"

namespace branchsae::cuda {
namespace {

constexpr int64_t kSmemBytes = smem_bytes<double>(kSumWarps * kWarp);

int32_t column_blocks(const SaeDesc& sae) {
  return (sae.d_padded + kWarp - 1) / kWarp;
}

}  // namespace

void add_check_step_work(int32_t index, const SaeDesc& sae, std::vector<WorkItem>& work) {
  for (int32_t tile = 0; tile <= column_blocks(sae); ++tile) work.push_back({index, tile});
}

void add_finish_step_work(int32_t index, const SaeDesc& sae, std::vector<WorkItem>& work) {
  for (int32_t tile = 0; tile < column_blocks(sae); ++tile) work.push_back({index, tile});
}

void check_step(cudaStream_t stream, const SaeDesc* saes, WorkList work) {
  launch(check_step_kernel, "check_step",
         {.grid = work.count, .block = kCheckThreads, .smem_bytes = kSmemBytes}, stream, saes, work);
}

void finish_step(cudaStream_t stream, const SaeDesc* saes, WorkList work, const GradientArrays& gradients) {
  launch(finish_step_kernel, "finish_step",
         {.grid = work.count, .block = kFinishThreads, .smem_bytes = kSmemBytes}, stream, saes, work,
         gradients);
}

}  // namespace branchsae::cuda
