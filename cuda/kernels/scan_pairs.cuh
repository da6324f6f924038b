#pragma once
// scan_pairs: counts of sort tiles -> where each tile's pairs of a latent go: after the earlier tiles' of its
// group, and the group's latents after one another (within chunks of kScanLatents; place_pairs adds the
// chunks before).
// Work     reads and writes 4n bytes for each sort tile. B=65536 n=2048: 1.4 us for 4.2 MB at 3.0 TB/s.
//          Not measured on a GPU.
// Launch   grid: (group, chunk of kScanLatents latents) a block; block kScanLatents, a latent a thread; shared
//          32 B
// Limits   none; groups without rows in this step return at once
// Order    integer sums
#include "cuda/arch/smem.cuh"
#include "cuda/arch/warp.cuh"
#include "cuda/kernels/pair_sections.cuh"
#include "cuda/sae/gradient_plan.h"

namespace branchsae::cuda {

/// Sum of `value` over the block's threads before this one; `total`: over all. `warps` holds one a warp.
BRANCHSAE_DEVICE int32_t scan_block(int32_t value, Smem<int32_t> warps, int32_t& total) {
  int32_t sum = value;
#pragma unroll
  for (int by = 1; by < kWarp; by *= 2) {
    const int32_t below = shuffle_up(sum, by);
    if (lane_id() >= by) sum += below;
  }
  if (lane_id() == kWarp - 1) warps.store(warp_id(), sum);
  sync_block();
  int32_t before = 0;
  total = 0;
  for (int warp = 0; warp < kScanLatents / kWarp; ++warp) {
    const int32_t of_warp = warps.load(warp);
    if (warp < warp_id()) before += of_warp;
    total += of_warp;
  }
  return before + sum - value;
}

__global__ void __launch_bounds__(kScanLatents) scan_pairs_kernel(const SaeDesc* saes, WorkList work) {
  const WorkItem item = work.items[blockIdx.x];
  const SaeDesc& sae = saes[item.sae];
  const int32_t n = sae.n, chunks = (n + kScanLatents - 1) / kScanLatents;
  const int32_t group = item.tile / chunks, chunk = item.tile % chunks;
  const GroupRows rows = group_rows(sae, group);
  if (rows.count <= 0) return;
  SmemArena arena;
  auto warps = arena.take<int32_t>(kScanLatents / kWarp);
  const int32_t latent = chunk * kScanLatents + static_cast<int32_t>(threadIdx.x);
  const int32_t first_tile = (rows.aux ? sae.sort_tiles : 0) + rows.first / sae.sort_rows;
  const int32_t tiles = (rows.count + sae.sort_rows - 1) / sae.sort_rows;
  int32_t sum = 0;
  if (latent < n) {
    int32_t* counts = sae.pair_counts + static_cast<int64_t>(first_tile) * n + latent;
#pragma unroll 4
    for (int32_t tile = 0; tile < tiles; ++tile, counts += n) {
      const int32_t count = *counts;
      *counts = sum;
      sum += count;
    }
  }
  int32_t total = 0;
  const int32_t before = scan_block(sum, warps, total);
  if (latent < n) sae.pair_starts[static_cast<int64_t>(group) * n + latent] = before;
  if (threadIdx.x == 0) sae.chunk_counts[static_cast<int64_t>(group) * chunks + chunk] = total;
}

}  // namespace branchsae::cuda
