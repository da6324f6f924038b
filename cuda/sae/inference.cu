#include "cuda/sae/inference.h"

#include <algorithm>

#include "cuda/error.h"
#include "cuda/kernels/copy_selection.cuh"
#include "cuda/kernels/count_dead.cuh"
#include "cuda/kernels/decode_tokens.cuh"
#include "cuda/kernels/evaluate_tokens.cuh"
#include "cuda/kernels/round_weights.cuh"
#include "cuda/kernels/sum_evaluation.cuh"
#include "cuda/launch.h"

namespace branchsae::cuda {
namespace {

constexpr int kBlock = 256;
constexpr int64_t kMostBlocks = 4096;  // threads stride over the rest

int64_t divide_up(int64_t value, int64_t divisor) {
  return (value + divisor - 1) / divisor;
}

void clear(cudaStream_t stream, void* memory, int64_t size_bytes) {
  check(cudaMemsetAsync(memory, 0, static_cast<size_t>(size_bytes), stream), "clear evaluation sums");
}

}  // namespace

Evaluation plan_evaluation(const SaeDesc& sae, Workspace& workspace) {
  const int64_t tiles = divide_up(sae.max_batch, kEvaluateRows);
  Evaluation evaluation{};
  evaluation.tile_sums = workspace.take<EvaluateSums>(tiles, "evaluation");
  evaluation.tile_channels = workspace.take<double>(tiles * 3 * sae.d_padded, "evaluation");
  evaluation.sums = workspace.take<EvaluateSums>(1, "evaluation");
  evaluation.channels = workspace.take<double>(int64_t{3} * sae.d_padded, "evaluation");
  evaluation.fired = workspace.take<int32_t>(sae.n, "evaluation");
  return evaluation;
}

void clear_evaluation(cudaStream_t stream, const SaeDesc& sae, const Evaluation& evaluation) {
  clear(stream, evaluation.sums, sizeof(EvaluateSums));
  clear(stream, evaluation.channels, int64_t{3} * sae.d_padded * 8);
  clear(stream, evaluation.fired, int64_t{sae.n} * 4);
}

void evaluate_tokens(cudaStream_t stream, const SaeDesc& sae, const SaeDesc* device_sae,
                     const Evaluation& evaluation, const float* values, const int32_t* indices, int64_t rows,
                     int64_t k) {
  const int64_t tiles = divide_up(rows, kEvaluateRows), count = int64_t{3} * sae.d_padded;
  const int64_t smem = smem_bytes<double>(kEvaluateRows * 4) + smem_bytes<int32_t>(kEvaluateRows) +
                       smem_bytes<double>(kEvaluateWarps * 3 * kDecodeChannels);
  launch(evaluate_tokens_kernel, "evaluate_tokens",
         {.grid = tiles, .block = kEvaluateBlock, .smem_bytes = smem}, stream, device_sae,
         {values, indices, static_cast<int32_t>(k), evaluation.tile_sums, evaluation.tile_channels,
          evaluation.fired});
  launch(sum_evaluation_kernel, "sum_evaluation", {.grid = divide_up(count, kSumBlock), .block = kSumBlock},
         stream, evaluation.tile_sums, evaluation.tile_channels, static_cast<int>(tiles),
         static_cast<int>(count), evaluation.sums, evaluation.channels);
}

void decode_tokens(cudaStream_t stream, const SaeDesc* device_sae, View<const float, 2> values,
                   View<const int32_t, 2> indices, View<float, 2> x_hat, uint32_t* fault) {
  const DecodeViews views{values.data,
                          indices.data,
                          x_hat.data,
                          {values.stride[0], values.stride[1]},
                          {indices.stride[0], indices.stride[1]},
                          {x_hat.stride[0], x_hat.stride[1]},
                          x_hat.shape[0],
                          static_cast<int32_t>(values.shape[1])};
  launch(decode_tokens_kernel, "decode_tokens",
         {.grid = divide_up(views.rows, kDecodeWarps), .block = kDecodeBlock}, stream, device_sae, views,
         fault);
}

void copy_selection(cudaStream_t stream, const float* values, const int32_t* indices, int64_t k,
                    View<float, 2> to_values, View<int32_t, 2> to_indices) {
  const SelectionViews views{values,
                             indices,
                             static_cast<int32_t>(k),
                             to_values.data,
                             to_indices.data,
                             {to_values.stride[0], to_values.stride[1]},
                             {to_indices.stride[0], to_indices.stride[1]},
                             to_values.shape[0],
                             to_values.shape[1]};
  const int64_t grid = std::min(divide_up(views.rows * views.slots, kBlock), kMostBlocks);
  launch(copy_selection_kernel, "copy_selection", {.grid = grid, .block = kBlock}, stream, views);
}

void count_dead(cudaStream_t stream, const SaeDesc* device_sae, int64_t dead_after) {
  launch(count_dead_kernel, "count_dead", {.block = kCountBlock}, stream, device_sae, dead_after);
}

void round_weights(cudaStream_t stream, const SaeDesc& sae) {
  if (sae.precision != Precision::kBf16) return;
  const int64_t count = int64_t{sae.n_padded} * sae.d_padded;
  const LaunchShape shape{.grid = std::min(divide_up(count, kBlock * 8), kMostBlocks), .block = kBlock};
  launch(round_weights_kernel, "round_weights", shape, stream, sae.w, sae.w16, count);
  if (sae.tied == 0)
    launch(round_weights_kernel, "round_weights", shape, stream, sae.w_dec, sae.w16_dec, count);
}

}  // namespace branchsae::cuda
