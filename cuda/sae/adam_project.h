#pragma once
/// From gradients of rows to new weights and biases of the latents.
#include <cuda_runtime_api.h>

#include <vector>

#include "cuda/sae/sae_desc.h"

namespace branchsae::cuda {

/// Device arrays for gradients instead of an update; row-major without padding. All null: update.
struct GradientArrays {
  float* w = nullptr;      ///< [n, d]
  float* w_dec = nullptr;  ///< [n, d] when untied
  float* b_enc = nullptr;  ///< [n]
  float* b_pre = nullptr;  ///< [d], written by finish_step
};

void add_adam_project_work(int32_t index, const SaeDesc& sae, std::vector<WorkItem>& work);

/// Reads   dw, dw_dec, db_enc and carries, pair_begin, the batch's numbers
/// Writes  w, w_dec, their 16-bit copies and moments, b_enc and its moments, last_fired, encoder_sums; or,
/// when
///         `gradients` is given (work of one autoencoder), these raw gradients and encoder_sums only
/// Nothing is written when bad_step or error_only is set; to `gradients` always.
/// Stream  enqueues, never synchronises
/// Throws  DeviceError on launch
void adam_project(cudaStream_t stream, const SaeDesc* saes, WorkList work,
                  const GradientArrays& gradients = {});

}  // namespace branchsae::cuda
