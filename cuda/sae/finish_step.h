#pragma once
/// What is summed over the whole batch: the check before anything is updated, and b_pre and totals after.
#include <cuda_runtime_api.h>

#include <vector>

#include "cuda/sae/adam_project.h"
#include "cuda/sae/sae_desc.h"

namespace branchsae::cuda {

void add_check_step_work(int32_t index, const SaeDesc& sae, std::vector<WorkItem>& work);
void add_finish_step_work(int32_t index, const SaeDesc& sae, std::vector<WorkItem>& work);

/// After decode_grad, before adam_project.
/// Reads   tile_sums, tile_squares, tile_token_sums
/// Writes  step_sums, variance_sums; and unless error_only: kSawNan or kSawInf in flags for a loss that is
/// not
///         finite; bad_step = adam_step when flags are set and it was 0
/// Stream  enqueues, never synchronises
/// Throws  DeviceError on launch
void check_step(cudaStream_t stream, const SaeDesc* saes, WorkList work);

/// After adam_project.
/// Reads   tile_error_sums, encoder_sums, step_sums, variance_sums
/// Writes  b_pre and its moments, the totals of state, tokens_seen; nothing when bad_step or error_only is
/// set.
///         Or, when `gradients` is given, gradients.b_pre only
/// Stream  enqueues, never synchronises
/// Throws  DeviceError on launch
void finish_step(cudaStream_t stream, const SaeDesc* saes, WorkList work,
                 const GradientArrays& gradients = {});

}  // namespace branchsae::cuda
