#pragma once
// finish_step: db_pre = sum e - sum db_enc W, Adam of b_pre; totals of the state, tokens_seen.
// Work     reads 4 bytes for each channel and row tile, and each channel and block of adam_project.
//          B=65536 d=128 n=2048: 1.1 MB in 4 blocks, ~3 us, latency. Not measured on a GPU.
// Launch   grid: 32 channels a block; block 1024; shared 8 KB
// Limits   rows > 0
// Order    deterministic: fixed strides and trees
#include "cuda/kernels/adam.cuh"
#include "cuda/kernels/column_sums.cuh"
#include "cuda/sae/adam_project.h"

namespace branchsae::cuda {

constexpr int kFinishThreads = kSumWarps * kWarp;

BRANCHSAE_DEVICE void add_totals(const SaeDesc& sae) {
  const StepSums& sums = *sae.step_sums;
  SaeState& state = *sae.state;
  const int32_t rows = sae.batch->rows;
  double squared_sum = 0;
  for (int32_t chunk = 0; chunk < (sae.d_padded + kWarp - 1) / kWarp; ++chunk)
    squared_sum += sae.variance_sums[chunk];
  state.tokens_seen += rows;
  state.tokens += rows;
  state.active += sums.active;
  state.squared_error += sums.squared_error;
  state.aux_error += sums.aux_error;
  state.total_variance += sums.squared_tokens - squared_sum / static_cast<double>(rows);
}

__global__ void __launch_bounds__(kFinishThreads)
    finish_step_kernel(const SaeDesc* saes, WorkList work, GradientArrays gradients) {
  const WorkItem item = work.items[blockIdx.x];
  const SaeDesc& sae = saes[item.sae];
  const bool updating = gradients.b_enc == nullptr;
  if (updating && (sae.state->bad_step != 0 || sae.batch->error_only != 0)) return;
  SmemArena arena;
  auto sums = arena.take<double>(kSumWarps * kWarp);
  const int32_t width = sae.d_padded, column = item.tile * kWarp + lane_id();
  const bool inside = column < width;
  const int32_t tiles = (sae.batch->rows + kSumRows - 1) / kSumRows;
  const double errors = column_sum(sae.tile_error_sums, tiles, width, column, inside, sums);
  const double encoder = column_sum(sae.encoder_sums, sae.adam_blocks, width, column, inside, sums);
  if (warp_id() != 0) return;
  const auto gradient = static_cast<float>(errors - encoder);
  if (!updating) {
    if (column < sae.d) gradients.b_pre[column] = gradient;
    return;
  }
  if (inside) {
    const AdamNumbers adam(*sae.batch);
    adam.apply(gradient, sae.b_pre[column], sae.m_b_pre[column], sae.v_b_pre[column]);
  }
  if (item.tile == 0 && lane_id() == 0) add_totals(sae);
}

}  // namespace branchsae::cuda
