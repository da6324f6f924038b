#pragma once
// count_dead: how many latents have not fired for dead_after tokens, into state->dead_count.
// Work     reads 8n bytes
// Launch   block 256, grid 1: asked for at log steps only
#include "cuda/arch/warp.cuh"
#include "cuda/sae/sae_desc.h"

namespace branchsae::cuda {

constexpr int kCountBlock = 256;

__global__ void __launch_bounds__(kCountBlock) count_dead_kernel(const SaeDesc* sae, int64_t dead_after) {
  const int64_t now = sae->state->tokens_seen;
  int count = 0;
  for (int first = 0; first < sae->n; first += kCountBlock) {
    const int latent = first + static_cast<int>(threadIdx.x);
    count += sync_block_count(latent < sae->n && now - sae->last_fired[latent] >= dead_after);
  }
  if (threadIdx.x == 0) sae->state->dead_count = count;
}

}  // namespace branchsae::cuda
