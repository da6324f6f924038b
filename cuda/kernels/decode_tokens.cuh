#pragma once
// decode_tokens: x_hat = (W_dec^T z + b_pre) / scale from selections, with the float32 weights.
// Work     2Bkd FLOP; reads 4Bkd bytes of weight rows (from L2 where W fits), writes 4Bd.
//          B=4096 d=512 k=32: 268 MB of L2 reads, 49 us at 5.5 TB/s. Not measured on a GPU.
// Launch   block 256: a warp a token, four neighbouring channels a lane
// Limits   any k, any strides; an index outside -1..n-1 counts as unused and sets `fault`
// Order    deterministic: a channel's sum runs over the slots in order
#include "cuda/arch/warp.cuh"
#include "cuda/sae/sae_desc.h"

namespace branchsae::cuda {

constexpr int kDecodeBlock = 256;
constexpr int kDecodeWarps = kDecodeBlock / kWarp;
constexpr int kDecodeChannels = 4 * kWarp;  ///< of one pass of a warp

/// Strided matrices in device memory: values and indices [rows, k], target [rows, d].
struct DecodeViews {
  const float* values;
  const int32_t* indices;
  float* target;
  int64_t value_strides[2], index_strides[2], target_strides[2];
  int64_t rows;
  int32_t k;
};

/// sum += value * row[0..3]
BRANCHSAE_DEVICE void add_scaled(float (&sum)[4], float value, const float* row) {
  const float4 w = load_read_only(reinterpret_cast<const float4*>(row));
  sum[0] = fma(value, w.x, sum[0]);
  sum[1] = fma(value, w.y, sum[1]);
  sum[2] = fma(value, w.z, sum[2]);
  sum[3] = fma(value, w.w, sum[3]);
}

__global__ void __launch_bounds__(kDecodeBlock)
    decode_tokens_kernel(const SaeDesc* sae, DecodeViews views, uint32_t* fault) {
  const int64_t token = static_cast<int64_t>(blockIdx.x) * kDecodeWarps + warp_id();
  if (token >= views.rows) return;
  const float inverse_scale = divide(1.0F, sae->scale);
  for (int first = 0; first < sae->d; first += kDecodeChannels) {
    const int channel = first + lane_id() * 4;
    const bool mine = channel < sae->d_padded;
    float sum[4] = {};
    if (mine) {
#pragma unroll
      for (int i = 0; i < 4; ++i) sum[i] = sae->b_pre[channel + i];
    }
    for (int slot = 0; slot < views.k; ++slot) {
      const int32_t latent = views.indices[token * views.index_strides[0] + slot * views.index_strides[1]];
      if (latent == -1) continue;
      if (latent < 0 || latent >= sae->n) {
        if (lane_id() == 0) atomic_or(fault, 1);
        continue;
      }
      const float value = views.values[token * views.value_strides[0] + slot * views.value_strides[1]];
      if (mine) add_scaled(sum, value, sae->w_dec + static_cast<int64_t>(latent) * sae->d_padded + channel);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (channel + i < sae->d)
        views.target[token * views.target_strides[0] + (channel + i) * views.target_strides[1]] =
            sum[i] * inverse_scale;
    }
  }
}

}  // namespace branchsae::cuda
