#pragma once
// list_dead: the latents that have not fired for batch->dead_after tokens, in ascending order, and their
// number.
// Work     reads 8n bytes, writes 4 bytes a dead latent. n=32768: 32 rounds of a block, about 40 us; n=2048: 2 us.
//          Not measured on a GPU.
// Launch   a block of kListThreads for an autoencoder; shared: kListWarps counts
// Limits   any n
// Order    deterministic: a round takes kListThreads latents in order
#include "cuda/arch/smem.cuh"
#include "cuda/arch/warp.cuh"
#include "cuda/sae/sae_desc.h"

namespace branchsae::cuda {

constexpr int kListThreads = 1024;
constexpr int kListWarps = kListThreads / kWarp;

__global__ void __launch_bounds__(kListThreads) list_dead_kernel(const SaeDesc* saes, WorkList work) {
  const SaeDesc& sae = saes[work.items[blockIdx.x].sae];
  SmemArena arena;
  Smem<int32_t> warp_counts = arena.take<int32_t>(kListWarps);
  const int64_t fired_before = sae.state->tokens_seen - sae.batch->dead_after;
  int32_t found = 0;
  for (int32_t first = 0; first < sae.n; first += kListThreads) {
    const int32_t latent = first + static_cast<int32_t>(threadIdx.x);
    const bool dead = latent < sae.n && sae.last_fired[latent] <= fired_before;
    const uint32_t of_warp = ballot(dead);
    sync_block();  // counts of the round before have been read
    if (lane_id() == 0) warp_counts.store(warp_id(), count_bits(of_warp));
    sync_block();
    const int32_t count = warp_counts.load(lane_id());
    const int32_t before = warp_sum(lane_id() < warp_id() ? count : 0);
    if (dead) sae.dead[found + before + count_bits(of_warp & ((1U << lane_id()) - 1))] = latent;
    found += warp_sum(count);
  }
  if (threadIdx.x == 0) sae.state->dead_count = found;
}

}  // namespace branchsae::cuda
