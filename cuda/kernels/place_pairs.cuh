#pragma once
// place_pairs: pairs to their places by group, latent, row; and where each latent's begin.
// Work     reads 4Bk bytes twice for each kSortLatents latents and 8Bk once, writes 16Bk.
//          B=65536 k=32 n=2048: 67 MB, 22 us at 3.0 TB/s. Not measured on a GPU.
// Launch   grid: (sort tile, range of kSortLatents latents) a block; block 256; shared 64 KB: a counter for
//          each latent and warp
// Limits   a token's latents differ; none else; tiles without rows in this step return at once
// Order    deterministic: a warp takes its tokens one by one, and a token's latents are distinct, so that
//          counters need no atomics and a latent's pairs stay in the order of rows
#include "cuda/arch/smem.cuh"
#include "cuda/arch/warp.cuh"
#include "cuda/kernels/pair_sections.cuh"
#include "cuda/sae/gradient_plan.h"

namespace branchsae::cuda {

constexpr int kPlaceThreads = kSortWarps * kWarp;
static_assert(kScanLatents == kPlaceThreads && kSortLatents % kScanLatents == 0);

/// Calls f(row, slot, place) for the slots of rows [begin, end) whose latent is the range's: in all lanes,
/// row by row, so that f may write counters at `place` without atomics. place < 0: not this lane's turn.
template <class F>
BRANCHSAE_DEVICE void for_each_pair(const int32_t* indices, int32_t k, int32_t begin, int32_t end,
                                    int32_t first_latent, F f) {
  const auto load_place = [&](int32_t row, int32_t first_slot) -> int32_t {
    const int32_t slot = first_slot + lane_id();
    if (row >= end || slot >= k) return -1;
    const int32_t place = load_read_only(indices + static_cast<int64_t>(row) * k + slot) - first_latent;
    return place < kSortLatents ? place : -1;
  };
  int32_t row = begin, first_slot = 0, place = load_place(row, first_slot);
  while (row < end) {
    const bool last = first_slot + kWarp >= k;
    const int32_t next_row = last ? row + 1 : row, next_slot = last ? 0 : first_slot + kWarp;
    const int32_t next_place = load_place(next_row, next_slot);  // ahead of the barrier
    f(row, first_slot + lane_id(), place);
    sync_warp();
    row = next_row, first_slot = next_slot, place = next_place;
  }
}

/// Pairs of the group in chunks before the range.
BRANCHSAE_DEVICE int32_t pairs_before(const int32_t* chunk_counts, int32_t chunks) {
  int32_t sum = 0;
  for (int32_t chunk = lane_id(); chunk < chunks; chunk += kWarp) sum += chunk_counts[chunk];
  return warp_sum(sum);
}

/// Turns counts of warps into the places of their first pairs; writes pair_begin once a group.
BRANCHSAE_DEVICE void start_counters(const SaeDesc& sae, const SortTile& tile, int32_t tile_index,
                                     int32_t first_latent, Smem<int32_t> counters) {
  const int32_t n = sae.n, chunks = (n + kScanLatents - 1) / kScanLatents;
  const int32_t* chunk_counts = sae.chunk_counts + static_cast<int64_t>(tile.group) * chunks;
  const int32_t* starts = sae.pair_starts + static_cast<int64_t>(tile.group) * n;
  const int32_t* earlier = sae.pair_counts + static_cast<int64_t>(tile_index) * n;
  int32_t* begins = sae.pair_begin + static_cast<int64_t>(tile.group) * (n + 1);
  const int32_t first_chunk = first_latent / kScanLatents;
  int32_t base = group_base(sae, group_rows(sae, tile.group)) + pairs_before(chunk_counts, first_chunk);
  for (int32_t i = static_cast<int32_t>(threadIdx.x), chunk = first_chunk; i < kSortLatents;
       i += kScanLatents, ++chunk) {
    const int32_t latent = first_latent + i;
    if (latent >= n) break;
    const int32_t begin = base + starts[latent];
    base += chunk_counts[chunk];
    if (tile.first_of_group) begins[latent] = begin;
    if (tile.first_of_group && latent == n - 1) begins[n] = base;
    int32_t place = begin + earlier[latent];
    for (int warp = 0; warp < kSortWarps; ++warp) {
      const int32_t count = counters.load(warp * kSortLatents + i);
      counters.store(warp * kSortLatents + i, place);
      place += count;
    }
  }
}

__global__ void __launch_bounds__(kPlaceThreads) place_pairs_kernel(const SaeDesc* saes, WorkList work) {
  const WorkItem item = work.items[blockIdx.x];
  const SaeDesc& sae = saes[item.sae];
  const int32_t ranges = (sae.n + kSortLatents - 1) / kSortLatents;
  const int32_t tile_index = item.tile / ranges, first_latent = item.tile % ranges * kSortLatents;
  const SortTile tile = sort_tile(sae, tile_index);
  if (tile.count <= 0) return;
  SmemArena arena;
  auto counters = arena.take<int32_t>(kSortWarps * kSortLatents);
  Smem<int32_t> own = counters.part(warp_id() * kSortLatents, kSortLatents);
  for (int32_t i = 4 * lane_id(); i < kSortLatents; i += 4 * kWarp)
    own.store_as<int4>(i, make_int4(0, 0, 0, 0));
  sync_warp();

  const int32_t k = section_k(sae, tile.aux), share = sae.sort_rows / kSortWarps;
  const int32_t tile_end = tile.first + tile.count, begin = tile.first + warp_id() * share;
  const int32_t end = begin + share < tile_end ? begin + share : tile_end;
  const int32_t* indices = tile.aux ? sae.aux_indices : sae.indices;
  for_each_pair(indices, k, begin, end, first_latent, [&](int32_t, int32_t, int32_t place) {
    if (place >= 0) own.store(place, own.load(place) + 1);
  });
  sync_block();
  start_counters(sae, tile, tile_index, first_latent, counters);
  sync_block();
  const float* values = tile.aux ? sae.aux_values : sae.values;
  const float* gradients = tile.aux ? sae.aux_pair_g : sae.pair_g;
  const int32_t ex_row = section_ex_row(sae, tile.aux);
  for_each_pair(indices, k, begin, end, first_latent, [&](int32_t row, int32_t slot, int32_t place) {
    if (place < 0) return;
    const int32_t target = own.load(place);
    own.store(place, target + 1);
    const int64_t at = static_cast<int64_t>(row) * k + slot;
    sae.pairs[target] = {ex_row + row, first_latent + place, values[at], gradients[at]};
  });
}

}  // namespace branchsae::cuda
