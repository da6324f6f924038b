#pragma once
// merge_topk: the k largest of a token's S k candidates, which S blocks of encode_topk selected from a share
// of the latents each.
// Work     reads 8 B S k bytes, writes 8 B k; S k / 32 loads from L1 a step of bisection. B=4096 S=6 k=32:
//          6 MB, 2 us at 3 TB/s; about 20 steps of 6 loads, 1500 issue slots a token, 7 us. Not measured.
// Launch   a warp for a token, kMergeRows tokens a block; no shared memory
// Limits   none on k
// Order    exact and deterministic. The shares ascend and so do their candidates: their order is the latents'
#include "cuda/kernels/encode_job.cuh"
#include "cuda/kernels/select_row.cuh"

namespace branchsae::cuda {

constexpr int32_t kMergeRows = 8;

/// The candidates of a token in the order of the latents; unused ones have value 0.
struct SplitRow {
  const float* values;  // of the first share
  const int32_t* indices;
  int32_t k, count;
  int64_t share;  // from one share's candidate to the next one's

  BRANCHSAE_DEVICE int64_t at(int32_t i) const { return i / k * share + i % k; }
  BRANCHSAE_DEVICE float value(int32_t i) const { return values[at(i)]; }
  BRANCHSAE_DEVICE int32_t index(int32_t i) const { return indices[at(i)]; }
};

__global__ void __launch_bounds__(kMergeRows* kWarp)
    merge_topk_kernel(const SaeDesc* saes, WorkList work, EncodeTarget target) {
  const WorkItem item = work.items[blockIdx.x];
  const SaeDesc& sae = saes[item.sae];
  const int64_t row = static_cast<int64_t>(item.tile) * kMergeRows + warp_id();
  if (row >= sae.batch->rows) return;
  const int32_t k = EncodeOutput::k_of(sae, target);
  const SplitRow candidates{sae.split_values + row * k, sae.split_indices + row * k, k, sae.encode_splits * k,
                            static_cast<int64_t>(sae.max_batch) * k};
  const RowSelection<SplitRow> selection(candidates, k);
  const EncodeOutput output(sae, target, 0, 1);
  selection.write(output.values + row * k, output.indices + row * k);
}

}  // namespace branchsae::cuda
