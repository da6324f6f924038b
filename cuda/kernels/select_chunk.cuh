#pragma once
// select_chunk: the k largest > 0 of each row of project_chunk's buffer, for any k.
// Work     reads the row ~20 times, from L1 while n <= 8192, else from L2; writes 8k bytes. n=2048: about 4000
//          issue slots a token. Not measured on a GPU.
// Launch   a warp for a token, kSelectRows tokens a block; no shared memory
// Limits   none
// Order    exact and deterministic; no atomics but the flags
#include "cuda/kernels/project_chunk.cuh"
#include "cuda/kernels/select_row.cuh"

namespace branchsae::cuda {

constexpr int32_t kSelectRows = 8;

struct ChunkRow {
  const float* sums;
  const int32_t* latents;  // or null
  int32_t count;

  BRANCHSAE_DEVICE float value(int32_t i) const { return sums[i]; }
  BRANCHSAE_DEVICE int32_t index(int32_t i) const { return latents == nullptr ? i : latents[i]; }
};

__global__ void __launch_bounds__(kSelectRows* kWarp)
    select_chunk_kernel(const SaeDesc* saes, WorkList work, EncodeTarget target, ChunkShape shape) {
  const int32_t blocks = shape.rows / kSelectRows;
  const auto block = static_cast<int32_t>(blockIdx.x);
  const SaeDesc& sae = saes[work.items[block / blocks].sae];
  const int32_t chunk_row = block % blocks * kSelectRows + warp_id();
  const int64_t row = static_cast<int64_t>(shape.chunk) * shape.rows + chunk_row;
  if (row >= sae.batch->rows) return;
  const float* buffer = target.scratch != nullptr ? target.scratch : sae.chunk;
  const ChunkRow sums{buffer + static_cast<int64_t>(chunk_row) * shape.n_padded,
                      target.dead ? sae.dead : nullptr, target.dead ? sae.state->dead_count : sae.n};
  const int32_t k = EncodeOutput::k_of(sae, target);
  const RowSelection<ChunkRow> selection(sums, k);
  const EncodeOutput output(sae, target, 0, 1);
  selection.write(output.values + row * k, output.indices + row * k);
  if (selection.flags() != 0) atomic_or(&sae.state->flags, selection.flags());
}

}  // namespace branchsae::cuda
