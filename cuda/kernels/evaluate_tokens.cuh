#pragma once
// evaluate_tokens: what SaeEvalSums holds, from tokens and their selections; in double, with the float32
// weights, unscaled units. Partial sums of a tile of tokens, which sum_evaluation adds up.
// Work     2Bkd FLOP and 10Bd in double; reads 4Bkd bytes of weight rows (from L2 where W fits) and 4Bd of
//          tokens. B=4096 d=512 k=32: 268 MB of L2 reads, 49 us at 5.5 TB/s. Not measured on a GPU.
// Launch   block 256; an item is a tile of kEvaluateRows tokens; a warp takes every eighth of its
//          tokens, four neighbouring channels a lane
// Limits   any k, any strides of the tokens (coalesced when channels are neighbours)
// Order    deterministic: fixed warps for tokens, warps added in order; firings are integer atomics
#include "cuda/arch/smem.cuh"
#include "cuda/kernels/decode_tokens.cuh"

namespace branchsae::cuda {

constexpr int kEvaluateBlock = 256;
constexpr int kEvaluateWarps = kEvaluateBlock / kWarp;

/// Selections of the batch, [rows, k] contiguous, and where the sums go.
struct EvaluateTarget {
  const float* values;
  const int32_t* indices;
  int32_t k;
  EvaluateSums* tile_sums;  ///< [tiles]
  double* tile_channels;    ///< [tiles, 3, d_padded] sums of x, x^2, (x - x_hat)^2
  int32_t* fired;           ///< [n], added to
};

/// Over the channels of one token.
struct TokenSums {
  double squared_error, squared_norm, squared_hat, product;
};

/// A warp's four channels of x_hat, scaled, from one token's selection; counts firings when `count_fired`.
BRANCHSAE_DEVICE void decode_channels(const SaeDesc& sae, const EvaluateTarget& target, int64_t token,
                                      int channel, bool count_fired, float (&sum)[4], int& active) {
  const bool mine = channel < sae.d_padded;
  if (mine) {
#pragma unroll
    for (int i = 0; i < 4; ++i) sum[i] = sae.b_pre[channel + i];
  }
  for (int begin = 0; begin < target.k; begin += kWarp) {
    const int slot = begin + lane_id();
    const bool used = slot < target.k && target.indices[token * target.k + slot] >= 0;
    const int32_t latent = used ? target.indices[token * target.k + slot] : -1;
    const float value = used ? target.values[token * target.k + slot] : 0.0F;
    if (count_fired && used) atomic_add(target.fired + latent, 1);
    const int count = count_bits(ballot(used));  // used slots come first
    active += count;
    for (int s = 0; s < count; ++s) {
      const int32_t row = shuffle(latent, s);
      const float z = shuffle(value, s);
      if (mine) add_scaled(sum, z, sae.w_dec + static_cast<int64_t>(row) * sae.d_padded + channel);
    }
    if (count < kWarp) break;
  }
}

/// Channel sums of the tile: each warp's in turn through shared memory [warps, 3, kDecodeChannels].
BRANCHSAE_DEVICE void store_channels(const SaeDesc& sae, const double (&sums)[3][4], int first_channel,
                                     Smem<double> smem, double* tile_channels) {
#pragma unroll
  for (int q = 0; q < 3; ++q) {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      smem.store((warp_id() * 3 + q) * kDecodeChannels + lane_id() * 4 + i, sums[q][i]);
  }
  sync_block();
  for (int at = static_cast<int>(threadIdx.x); at < 3 * kDecodeChannels; at += kEvaluateBlock) {
    const int channel = first_channel + at % kDecodeChannels;
    if (channel >= sae.d_padded) continue;
    double sum = 0;
    for (int w = 0; w < kEvaluateWarps; ++w) sum += smem.load(w * 3 * kDecodeChannels + at);
    tile_channels[at / kDecodeChannels * sae.d_padded + channel] = sum;
  }
  sync_block();
}

/// One token's part of the channels: adds to the warp's channel sums and the token's own.
BRANCHSAE_DEVICE void add_channels(const SaeDesc& sae, const SaeBatch& batch, int row, int channel,
                                   const float (&hat)[4], double (&channels)[3][4], TokenSums& sums) {
  const double inverse_scale = 1.0 / static_cast<double>(sae.scale);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (channel + i >= sae.d) continue;
    const auto x =
        static_cast<double>(batch.tokens[row * batch.row_stride + (channel + i) * batch.column_stride]);
    const double x_hat = static_cast<double>(hat[i]) * inverse_scale, error = x_hat - x;
    channels[0][i] += x;
    channels[1][i] += x * x;
    channels[2][i] += error * error;
    sums.squared_error += error * error;
    sums.squared_norm += x * x;
    sums.squared_hat += x_hat * x_hat;
    sums.product += x * x_hat;
  }
}

/// Adds a pass of a warp over a token to the token's sums in shared memory [kEvaluateRows, 4].
BRANCHSAE_DEVICE void add_token(Smem<double> tokens, int token, bool first, const TokenSums& sums) {
  const double values[4] = {warp_sum(sums.squared_error), warp_sum(sums.squared_norm),
                            warp_sum(sums.squared_hat), warp_sum(sums.product)};
  if (lane_id() != 0) return;
#pragma unroll
  for (int i = 0; i < 4; ++i)
    tokens.store(token * 4 + i, values[i] + (first ? 0.0 : tokens.load(token * 4 + i)));
}

/// The tile's sums from those of its tokens, by the first warp: tokens in a fixed order.
BRANCHSAE_DEVICE void store_tile(Smem<double> tokens, Smem<int32_t> active, int rows, EvaluateSums* out) {
  EvaluateSums sums{};
  int32_t active_slots = 0;
  for (int t = lane_id(); t < rows; t += kWarp) {
    const double norm = tokens.load(t * 4 + 1), hat = tokens.load(t * 4 + 2);
    sums.squared_error += tokens.load(t * 4);
    sums.squared_norm += norm;
    const double norms = square_root(norm) * square_root(hat);
    if (norms > 0) sums.cosine += tokens.load(t * 4 + 3) / norms;
    active_slots += active.load(t);
  }
  sums.squared_error = warp_sum(sums.squared_error);
  sums.squared_norm = warp_sum(sums.squared_norm);
  sums.cosine = warp_sum(sums.cosine);
  sums.active = warp_sum(active_slots);
  if (lane_id() == 0) *out = sums;
}

__global__ void __launch_bounds__(kEvaluateBlock)
    evaluate_tokens_kernel(const SaeDesc* saes, EvaluateTarget target) {
  const SaeDesc& sae = *saes;
  const SaeBatch batch = *sae.batch;
  const int tile = static_cast<int>(blockIdx.x), begin = tile * kEvaluateRows;
  if (begin >= batch.rows) return;
  const int rows = batch.rows - begin < kEvaluateRows ? batch.rows - begin : kEvaluateRows;
  SmemArena arena;
  const auto tokens = arena.take<double>(kEvaluateRows * 4);
  auto active = arena.take<int32_t>(kEvaluateRows);
  const auto channel_sums = arena.take<double>(kEvaluateWarps * 3 * kDecodeChannels);
  double* tile_channels = target.tile_channels + static_cast<int64_t>(tile) * 3 * sae.d_padded;
  for (int first = 0; first < sae.d_padded; first += kDecodeChannels) {
    double channels[3][4] = {};
    const int channel = first + lane_id() * 4;
    for (int t = warp_id(); t < rows; t += kEvaluateWarps) {
      float hat[4] = {};
      int count = 0;
      TokenSums sums{};
      decode_channels(sae, target, begin + t, channel, first == 0, hat, count);
      add_channels(sae, batch, begin + t, channel, hat, channels, sums);
      add_token(tokens, t, first == 0, sums);
      if (lane_id() == 0) active.store(t, count);
    }
    store_channels(sae, channels, first, channel_sums, tile_channels);
  }
  if (warp_id() == 0) store_tile(tokens, active, rows, target.tile_sums + tile);
}

}  // namespace branchsae::cuda
