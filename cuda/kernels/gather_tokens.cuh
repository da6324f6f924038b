#pragma once
// gather_tokens: x = round(scale * tokens - b_pre), zero-padded, and the sums that the batch's variance
// needs.
// Work     reads 4Bd bytes, writes 2Bd (bf16) or 4Bd and 4 d B / kGatherRows of sums; no reuse, so memory
//          rules: B=65536 d=128 bf16 moves 50 MB, 12 us at 4.3 TB/s. Not measured on a GPU.
// Launch   block 256; an item is a tile of kGatherRows tokens with all its channels
// Limits   any strides; coalesced when either of them is 1 (4 bytes a lane: a token may begin anywhere, it is
//          often part of a wider row)
// Order    deterministic: a tile's sums run over its tokens in order, whatever the layout
#include "cuda/arch/smem.cuh"
#include "cuda/arch/warp.cuh"
#include "cuda/sae/sae_desc.h"

namespace branchsae::cuda {

constexpr int kGatherBlock = 256;
constexpr int kGatherPart = 32;                     ///< tokens on their way through shared memory at once
constexpr int kGatherChannels = 64;                 ///< channels likewise
constexpr int kGatherStride = kGatherChannels + 1;  ///< odd: rows and columns both spread over the banks
constexpr int kGatherWarps = kGatherBlock / kWarp;

struct GatherSmem {
  Smem<float> tile;      ///< [kGatherPart, kGatherStride]
  Smem<double> squares;  ///< [warps]
};

/// tokens[row, channel], scaled and centred; 0 outside.
BRANCHSAE_DEVICE float centred_token(const SaeDesc& sae, const SaeBatch& batch, int row, int channel) {
  if (row >= batch.rows || channel >= sae.d) return 0.0F;
  const float value = batch.tokens[row * batch.row_stride + channel * batch.column_stride];
  return fma(sae.scale, value, -sae.b_pre[channel]);
}

/// A part of the tokens into shared memory; neighbouring lanes take what is neighbouring in global memory.
BRANCHSAE_DEVICE void load_part(const SaeDesc& sae, const SaeBatch& batch, int first_row, int first_channel,
                                Smem<float> tile) {
  const int lane = lane_id(), warp = warp_id();
  if (batch.row_stride == 1 && batch.column_stride != 1) {
    for (int c = warp; c < kGatherChannels; c += kGatherWarps)
      tile.store(lane * kGatherStride + c, centred_token(sae, batch, first_row + lane, first_channel + c));
    return;
  }
  for (int r = warp; r < kGatherPart; r += kGatherWarps) {
    for (int c = lane; c < kGatherChannels; c += kWarp)
      tile.store(r * kGatherStride + c, centred_token(sae, batch, first_row + r, first_channel + c));
  }
}

BRANCHSAE_DEVICE void store_eight(float* to, const float (&v)[8]) {
  float4* words = reinterpret_cast<float4*>(to);
  words[0] = make_float4(v[0], v[1], v[2], v[3]);
  words[1] = make_float4(v[4], v[5], v[6], v[7]);
}
BRANCHSAE_DEVICE void store_eight(Bf16* to, const float (&v)[8]) {
  *reinterpret_cast<uint4*>(to) =
      make_uint4(pack_bf16(v[0], v[1]), pack_bf16(v[2], v[3]), pack_bf16(v[4], v[5]), pack_bf16(v[6], v[7]));
}

/// Eight channels of one token from shared memory to x; returns their squares' sum.
template <class X>
BRANCHSAE_DEVICE double store_part(const SaeDesc& sae, int first_row, int first_channel, Smem<float> tile) {
  const int row = static_cast<int>(threadIdx.x) / 8, group = static_cast<int>(threadIdx.x) % 8 * 8;
  float v[8];
  double squares = 0;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    v[i] = tile.load(row * kGatherStride + group + i);
    squares += static_cast<double>(v[i]) * static_cast<double>(v[i]);
  }
  const int channel = first_channel + group;
  if (channel < sae.d_padded)
    store_eight(static_cast<X*>(sae.x) + static_cast<int64_t>(first_row + row) * sae.d_padded + channel, v);
  return squares;
}

/// The block's sum of `value`, in the order of its threads' warps; whole in thread 0.
BRANCHSAE_DEVICE double sum_of_block(double value, Smem<double> warps) {
  value = warp_sum(value);
  if (lane_id() == 0) warps.store(warp_id(), value);
  sync_block();
  double sum = 0;
  if (threadIdx.x == 0) {
    for (int w = 0; w < kGatherWarps; ++w) sum += warps.load(w);
  }
  return sum;
}

template <class X>
__global__ void __launch_bounds__(kGatherBlock) gather_tokens_kernel(const SaeDesc* saes, WorkList work) {
  const WorkItem item = work.items[blockIdx.x];
  const SaeDesc& sae = saes[item.sae];
  const SaeBatch batch = *sae.batch;
  const int begin = item.tile * kGatherRows;
  // Tiles of the encode read rows up to the next multiple of kRowPadding.
  if (begin >= (batch.rows + kRowPadding - 1) / kRowPadding * kRowPadding) return;
  SmemArena arena;
  GatherSmem smem;
  smem.tile = arena.take<float>(kGatherPart * kGatherStride);
  smem.squares = arena.take<double>(kGatherWarps);
  double squares = 0;
  for (int channel = 0; channel < sae.d_padded; channel += kGatherChannels) {
    float sum = 0;
    for (int row = begin; row < begin + kGatherRows; row += kGatherPart) {
      load_part(sae, batch, row, channel, smem.tile);
      sync_block();
      squares += store_part<X>(sae, row, channel, smem.tile);
      if (threadIdx.x < kGatherChannels) {
        for (int r = 0; r < kGatherPart; ++r)
          sum += smem.tile.load(r * kGatherStride + static_cast<int>(threadIdx.x));
      }
      sync_block();
    }
    const int mine = channel + static_cast<int>(threadIdx.x);
    if (threadIdx.x < kGatherChannels && mine < sae.d_padded)
      sae.tile_token_sums[static_cast<int64_t>(item.tile) * sae.d_padded + mine] = sum;
  }
  const double total = sum_of_block(squares, smem.squares);
  if (threadIdx.x == 0) sae.tile_squares[item.tile] = total;
}

}  // namespace branchsae::cuda
