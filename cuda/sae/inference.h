#pragma once
/// Decoding, evaluation and small services around a single autoencoder. All enqueue and never wait.
#include <cuda_runtime_api.h>

#include "cuda/sae/sae_desc.h"
#include "cuda/sae/workspace.h"
#include "engine/view.h"

namespace branchsae::cuda {

/// Work space and results of evaluations.
struct Evaluation {
  EvaluateSums* tile_sums;  ///< [tiles]
  double* tile_channels;    ///< [tiles, 3, d_padded]
  EvaluateSums* sums;       ///< totals
  double* channels;         ///< [3, d_padded] sums of x, x^2, (x - x_hat)^2
  int32_t* fired;           ///< [n]
};
Evaluation plan_evaluation(const SaeDesc& sae, Workspace& workspace);

/// Zeroes the totals.
void clear_evaluation(cudaStream_t stream, const SaeDesc& sae, const Evaluation& evaluation);

/// Adds the batch of `device_sae` (a copy of `sae` in device memory) to the totals.
/// values, indices  [rows, k] contiguous, as encode_topk wrote them
void evaluate_tokens(cudaStream_t stream, const SaeDesc& sae, const SaeDesc* device_sae,
                     const Evaluation& evaluation, const float* values, const int32_t* indices, int64_t rows,
                     int64_t k);

/// x_hat [rows, d] in unscaled units from values, indices [rows, k]; all strided. An index outside -1..n-1
/// counts as unused and sets *fault to 1.
void decode_tokens(cudaStream_t stream, const SaeDesc* device_sae, View<const float, 2> values,
                   View<const int32_t, 2> indices, View<float, 2> x_hat, uint32_t* fault);

/// Contiguous selections [rows, k] into strided views [rows, slots], slots >= k; the others become 0 / -1.
void copy_selection(cudaStream_t stream, const float* values, const int32_t* indices, int64_t k,
                    View<float, 2> to_values, View<int32_t, 2> to_indices);

/// state->dead_count = latents that have not fired for dead_after tokens.
void count_dead(cudaStream_t stream, const SaeDesc* device_sae, int64_t dead_after);

/// w16 and w16_dec from w and w_dec; nothing without kBf16.
void round_weights(cudaStream_t stream, const SaeDesc& sae);

}  // namespace branchsae::cuda
