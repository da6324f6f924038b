#pragma once
// check_step: sums over the batch's tiles; whether the step may go on.
// Work     reads 4 bytes for each channel and tile of kGatherRows tokens. B=65536 d=128: 1 MB in 4 blocks,
//          ~3 us, latency. Not measured on a GPU.
// Launch   grid: 32 channels a block, and one more block for the sums; block 1024; shared 8 KB
// Limits   rows > 0
// Order    deterministic: fixed strides and trees
#include "cuda/kernels/column_sums.cuh"
#include "cuda/sae/sae_desc.h"

namespace branchsae::cuda {

constexpr int kCheckThreads = kSumWarps * kWarp;

/// (sum x)^2 over the block's channels.
BRANCHSAE_DEVICE void sum_variance(const SaeDesc& sae, int32_t chunk, Smem<double> work) {
  const int32_t tiles = (sae.batch->rows + kGatherRows - 1) / kGatherRows;
  const int32_t column = chunk * kWarp + lane_id();
  const double sum =
      column_sum(sae.tile_token_sums, tiles, sae.d_padded, column, column < sae.d_padded, work);
  const double squares = warp_sum(sum * sum);
  if (threadIdx.x == 0) sae.variance_sums[chunk] = squares;
}

/// The sums of tiles; then flags, and whether this is the bad step.
BRANCHSAE_DEVICE void sum_tiles_and_check(const SaeDesc& sae, Smem<double> work) {
  const int32_t rows = sae.batch->rows, thread = static_cast<int32_t>(threadIdx.x);
  double squared_error = 0, aux_error = 0, active = 0, squared_tokens = 0;
  for (int32_t tile = thread; tile < (rows + kSumRows - 1) / kSumRows; tile += kCheckThreads) {
    const TileSums& sums = sae.tile_sums[tile];
    squared_error += sums.squared_error;
    aux_error += sums.aux_error;
    active += static_cast<double>(sums.active);
  }
  for (int32_t tile = thread; tile < (rows + kGatherRows - 1) / kGatherRows; tile += kCheckThreads)
    squared_tokens += sae.tile_squares[tile];
  const StepSums sums{block_sum(squared_error, work), block_sum(aux_error, work),
                      block_sum(squared_tokens, work), static_cast<int64_t>(block_sum(active, work))};
  if (thread != 0) return;
  *sae.step_sums = sums;
  if (sae.batch->error_only != 0) return;
  const double loss = sums.squared_error + sums.aux_error;
  SaeState& state = *sae.state;
  if (loss != loss) {
    state.flags |= kSawNan;
  } else if (loss - loss != 0) {
    state.flags |= kSawInf;
  }
  if (state.flags != 0 && state.bad_step == 0) state.bad_step = sae.batch->adam_step;
}

__global__ void __launch_bounds__(kCheckThreads) check_step_kernel(const SaeDesc* saes, WorkList work) {
  const WorkItem item = work.items[blockIdx.x];
  const SaeDesc& sae = saes[item.sae];
  SmemArena arena;
  auto sums = arena.take<double>(kSumWarps * kWarp);
  if (item.tile < (sae.d_padded + kWarp - 1) / kWarp) {
    sum_variance(sae, item.tile, sums);
  } else {
    sum_tiles_and_check(sae, sums);
  }
}

}  // namespace branchsae::cuda
