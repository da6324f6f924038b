#pragma once
// tile_dw: dW_i = sum over a group's pairs of z e + g xc (untied: the two sums apart), and sum g; ex from
// shared memory.
// Work     8Bkd FLOP; reads 4Bd of ex, 16Bk of pairs for each slice, Bk times 128 bytes (bf16) of shared memory
//          for each slice; writes 4nd for each group, only latents with pairs. B=65536 d=128 k=32 bf16: 1.07
//          GB of shared memory, 37 us at 29 TB/s. Not measured on a GPU.
// Launch   grid: (group of dw_rows rows, slice) a block; block 1024; shared dw_rows x 64 elements of ex
// Limits   dw_rows > 0, as many as the device's shared memory takes (gradient_plan.cpp)
// Order    deterministic: a warp sums a latent's pairs, every fourth (float: second) in one set of lanes, the
//          sets in a fixed tree; adam_project sums the groups in order
//
// Atomics on dW would save the sort, but not give the same bits twice; not built.
#include "cuda/arch/async.cuh"
#include "cuda/kernels/pair_rows.cuh"
#include "cuda/kernels/pair_sections.cuh"

namespace branchsae::cuda {

constexpr int kTileDwThreads = 1024;

/// The group's rows of one slice of ex.
template <class T>
BRANCHSAE_DEVICE void load_slice(const SaeDesc& sae, int64_t first_row, int32_t count, int32_t slice,
                                 Smem<T> to) {
  constexpr int kParts = kPieceLanes<T>;
  const T* from = static_cast<const T*>(sae.ex) + (first_row * sae.slices + slice) * 2 * kSlice;
  const int64_t stride = static_cast<int64_t>(sae.slices) * 2 * kSlice;
  for (int32_t i = static_cast<int32_t>(threadIdx.x); i < count * kParts; i += kTileDwThreads) {
    const int32_t row = i / kParts, part = i % kParts;
    copy_async_16(to, i * kVector<T>, from + row * stride + part * kVector<T>);
  }
  commit_async();
  wait_async<0>();
  sync_block();
}

/// Sum over a latent's pairs [begin, end): the channels of this lane's part, of the pairs of its set of
/// lanes.
template <class T>
BRANCHSAE_DEVICE float sum_pairs(const Pair* pairs, int32_t begin, int32_t end, int32_t first_row,
                                 const Smem<T>& ex, float (&sum)[kVector<T>]) {
  constexpr int kSets = kWarp / kPieceLanes<T>;
  const int32_t at = lane_id() % kPieceLanes<T> * kVector<T>;
  float g = 0;
#pragma unroll 4
  for (int32_t p = begin + lane_id() / kPieceLanes<T>; p < end; p += kSets) {
    const Pair pair = load_pair(pairs + p);
    const auto raw = ex.template load_as<uint4>((pair.row - first_row) * 2 * kSlice + at);
    add_pair<T>(pair, raw, sum);
    g += pair.g;
  }
  return g;
}

/// Over the sets of lanes; then tied: over the two halves. What is left of `sum` is that of channels from the
/// returned one on.
template <class T, bool kTied>
BRANCHSAE_DEVICE int add_sets(float (&sum)[kVector<T>], float& g) {
  int channel = lane_id() % kHalfLanes<T> * kVector<T>;
  const auto halve = [&](int width, int mask) { channel += (lane_id() & mask) != 0 ? width / 2 : 0; };
  constexpr int kCount = kVector<T>, kFirst = kWarp / 2;
  add_halves<kCount>(sum, kFirst);
  halve(kCount, kFirst);
  g += shuffle_xor(g, kFirst);
  if constexpr (kPieceLanes<T> == kWarp / 4) {
    add_halves<kCount / 2>(sum, kWarp / 4);
    halve(kCount / 2, kWarp / 4);
    g += shuffle_xor(g, kWarp / 4);
  }
  if constexpr (kTied) {
    add_halves<2>(sum, kHalfLanes<T>);
    halve(2, kHalfLanes<T>);
  }
  return channel;
}

template <class T, bool kTied>
__global__ void __launch_bounds__(kTileDwThreads) tile_dw_kernel(const SaeDesc* saes, WorkList work) {
  const WorkItem item = work.items[blockIdx.x];
  const SaeDesc& sae = saes[item.sae];
  const int32_t n = sae.n, slices = sae.slices, group = item.tile / slices, slice = item.tile % slices;
  const GroupRows rows = group_rows(sae, group);
  if (rows.count <= 0) return;
  SmemArena arena;
  auto ex = arena.take<T>(sae.dw_rows * 2 * kSlice);
  const int32_t first_row = section_ex_row(sae, rows.aux) + rows.first;
  load_slice(sae, first_row, rows.count, slice, ex);

  const int32_t* begins = sae.pair_begin + static_cast<int64_t>(group) * (n + 1);
  const Pair* pairs = sae.pairs;
  float* target = (!kTied && !in_encoder_half<T>()) ? sae.dw_dec : sae.dw;
  float* bias = sae.db_enc + static_cast<int64_t>(group) * n;
  for (int32_t first = warp_id() * kWarp; first < n; first += kTileDwThreads) {
    const int32_t own = first + lane_id();
    const int32_t own_begin = own < n ? begins[own] : 0, own_end = own < n ? begins[own + 1] : 0;
    for (uint32_t used = ballot(own_begin < own_end); used != 0; used &= used - 1) {
      const int place = lowest_bit(used);
      const int32_t begin = shuffle(own_begin, place), end = shuffle(own_end, place), latent = first + place;
      float sum[kVector<T>] = {};
      float g = sum_pairs<T>(pairs, begin, end, first_row, ex, sum);
      const int channel = add_sets<T, kTied>(sum, g);
      float* row = target + ((static_cast<int64_t>(group) * n + latent) * slices + slice) * kSlice;
      row[channel] = sum[0];
      if constexpr (!kTied) row[channel + 1] = sum[1];
      if (slice == 0 && lane_id() == 0) bias[latent] = g;
    }
  }
}

}  // namespace branchsae::cuda
