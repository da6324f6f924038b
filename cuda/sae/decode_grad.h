#pragma once
/// Residuals, loss and the gradients of single pairs of a batch, AuxK's too.
#include <cuda_runtime_api.h>

#include <compare>
#include <vector>

#include "cuda/sae/sae_desc.h"

namespace branchsae::cuda {

struct DecodeGradVariant {
  bool bf16 = false;
  int32_t held =
      0;  ///< slots a token may use whose rows stay in registers: 32, 64; 0: any number, read twice
  int32_t channels = 0;  ///< that shared memory has room for
  auto operator<=>(const DecodeGradVariant&) const = default;
};

DecodeGradVariant decode_grad_variant(const SaeDesc& sae);
/// Bytes of shared memory that a block needs.
int64_t decode_grad_smem(int32_t channels);
/// An item is a row tile of kSumRows tokens.
void add_decode_grad_work(int32_t index, const SaeDesc& sae, std::vector<WorkItem>& work);

/// Reads   x, values, indices, w_dec (w16_dec with kBf16); with AuxK aux_values, aux_indices
/// Writes  ex, pair_g, aux_pair_g, tile_error_sums, and of tile_sums all but squared_tokens
/// AuxK runs when aux_k > 0, aux_error_factor != 0 and dead_count > 0; else aux_error is 0 and its pairs are
/// not read by the kernels that follow.
/// Stream  enqueues, never synchronises
/// Throws  DeviceError on launch
void decode_grad(cudaStream_t stream, const DecodeGradVariant& variant, const SaeDesc* saes, WorkList work);

}  // namespace branchsae::cuda
