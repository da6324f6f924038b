#pragma once
// project_chunk: the pre-activations of a chunk of tokens, for selections that encode_topk does not offer
// (k > 64). The chunk's buffer is small enough to stay in L2 and does not grow with the batch.
// Work     2 rows n d FLOP; writes 4 rows n_padded bytes. Per chunk of 16 MiB with d=128 bf16: 1.1 GFLOP, and
//          16 MiB written and read ~20 times from L2 by select_chunk: ~60 us. A batch of 65536, n=2048: 32
//          chunks, 2 ms, 8 times encode_topk. Not measured on a GPU.
// Launch   a block of 8 warps for kProjectRows tokens and kProjectLatents latents; shared: the streamed
//          EncodeShape's stages
// Limits   any d
// Order    deterministic, no atomics; the same sums as encode_topk's
#include "cuda/kernels/encode_topk.cuh"

namespace branchsae::cuda {

constexpr int32_t kProjectRows = 64;
constexpr int32_t kProjectLatents = 512;

/// One chunk of the tokens of each autoencoder of a launch.
struct ChunkShape {
  int32_t chunk, rows;  // which, and its tokens: a multiple of kProjectRows
  int32_t n_padded;     // of all of them: the pitch of the buffer

  BRANCHSAE_HOST_DEVICE int32_t row_tiles() const { return rows / kProjectRows; }
  BRANCHSAE_HOST_DEVICE int32_t latent_tiles() const {
    return (n_padded + kProjectLatents - 1) / kProjectLatents;
  }
};

template <Precision kPrecision>
__global__ void __launch_bounds__(kProjectRows / kWarpRows * kWarp)
    project_chunk_kernel(const SaeDesc* saes, WorkList work, EncodeTarget target, ChunkShape shape) {
  using Tile = EncodeShape<kPrecision, 0>;
  const auto block = static_cast<int32_t>(blockIdx.x);
  const int32_t part = block % shape.latent_tiles();
  const int32_t row_tile = block / shape.latent_tiles() % shape.row_tiles();
  const SaeDesc& sae = saes[work.items[block / shape.latent_tiles() / shape.row_tiles()].sae];
  const int32_t first_row = shape.chunk * shape.rows + row_tile * kProjectRows;
  EncodeJob<typename Tile::Element> job(sae, target.dead, first_row, 0, 1, Tile::kTileLatents);
  job.first_tile = part * (kProjectLatents / Tile::kTileLatents);
  job.end_tile = min(job.end_tile, job.first_tile + kProjectLatents / Tile::kTileLatents);
  if (job.first_row >= job.rows || job.first_tile >= job.end_tile) return;

  SmemArena arena;
  WarpTile<kPrecision, 0> products(job);
  SliceStream<Tile> stream(arena, job, kProjectRows);
  const int row = row_tile * kProjectRows + warp_id() * kWarpRows + lane_id() / kQuad;
  float* buffer = target.scratch != nullptr ? target.scratch : sae.chunk;
  for (int32_t tile = job.first_tile; tile < job.end_tile; ++tile) {
    float sums[Tile::kTileLatents / 8][4];
    products.accumulate(sums, stream);
#pragma unroll
    for (int i = 0; i < Tile::kTileLatents / 4; ++i) {
      const int j = i / 2, half = i % 2;
      const int column = tile * Tile::kTileLatents + 8 * j + 2 * (lane_id() % kQuad);
      if (column >= shape.n_padded) continue;
      float* to = buffer + static_cast<int64_t>(row + 8 * half) * shape.n_padded + column;
      *reinterpret_cast<float2*>(to) = make_float2(sums[j][2 * half], sums[j][2 * half + 1]);
    }
  }
}

}  // namespace branchsae::cuda
