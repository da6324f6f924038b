#pragma once
// encode_topk: u = x w^T + b_enc and the k largest u > 0 of each row; u is never stored.
// Work     2Bnd FLOP; reads 2Bd + 2nd B / (block's rows) bytes (twice that in float, rows of w mostly from
//          L2), writes 8Bk. B=65536 d=128 n=2048 bf16: 34 GFLOP, 43 us at 790 TFLOP/s; w read 683 times, 358
//          MB, 65 us of L2 at 5.5 TB/s. Issue slots of a warp (counted in the sm_90a code; 16 rows): products
//          3300, copies and b_enc 2400, tests and appends 52 for 16 columns, 6700, compactions 1100 each, 6
//          and a longer last one, 8800, sort 1000: 22000, 100 us of 132 x 4 schedulers at 1.7 GHz. Likewise
//          d=48 n=768: 11500, 52 us. Not measured on a GPU.
// Launch   a block for `block rows` tokens (a multiple of 16, at most 128; a warp has 16), times the splits of
//          n; shared: EncodeShape::smem_bytes(). Lists fill shared memory before registers run out: 8 warps
//          an SM of 255 registers, or 12 of 168
// Limits   k <= 64 (kSlots 24: 32), d_padded <= kWidth (0: any), n < 2^26; larger k take project_chunk
// Order    deterministic, no atomics but the flags; p depends on neither block size nor splits nor group
//
// A warp's tile of kTileLatents columns is accumulated in registers, then offered to the lists of
// candidates.cuh. Its rows of x stay in registers (kWidth > 0) or come with the slices of w (streamed).
// Within 64 bytes of channels the order in which the products take them is ours: lane t of a quad takes 16
// bytes of x and of w, which are two steps of mma.sync, so that one 16-byte load of shared memory feeds two.
#include "cuda/arch/async.cuh"
#include "cuda/arch/mma.cuh"
#include "cuda/kernels/candidates.cuh"
#include "cuda/kernels/encode_job.cuh"
#include "cuda/sae/encode_target.h"

namespace branchsae::cuda {

constexpr int kPanelBytes = 128;                // a row's part of a panel
constexpr int kPanelChunks = kPanelBytes / 16;  // 16 bytes: what a thread copies or loads
constexpr int kPanelBlocks = kPanelBytes / 64;  // 64 bytes: what a quad takes at once

template <Precision kPrecision, int kWidth>
struct EncodeShape {
  static constexpr bool kStreamed = kWidth == 0;
  using Element = EncodeElement<kPrecision>;
  static constexpr int kChunkChannels = 16 / static_cast<int>(sizeof(Element));
  static constexpr int kWidthChunks = kWidth / kChunkChannels;
  static constexpr int kPanelChannels = kPanelChunks * kChunkChannels;
  static constexpr int kBlockChannels = kPanelChannels / kPanelBlocks;
  // The widest rows take 128 registers, and leave fewer for sums.
  static constexpr bool kWide = kWidth == 8 * kPanelChannels;
  static constexpr int kTileLatents = kStreamed && kPrecision != Precision::kF32 ? 128 : kWide ? 32 : 64;
  static constexpr int kStages = kStreamed || kWidth <= 128 ? 2 : 3;
  static constexpr int kPanels = kWide ? 4 : kStreamed || kWidth <= kPanelChannels ? 1 : 2;  // of a slice
  static constexpr int kSliceChannels = kPanels * kPanelChannels;
  static constexpr int kSlices = kStreamed ? 0 : kWidth / kSliceChannels;  // of a tile, at most
  static constexpr int kBlocks = kStreamed ? 0 : kWidth / kBlockChannels;

  /// 16-byte chunks of a stage: the slice of w, then that of x.
  static constexpr BRANCHSAE_HOST_DEVICE int stage_chunks(int block_rows) {
    return (kPanels * kTileLatents + (kStreamed ? block_rows : 0)) * kPanelChunks;
  }
  template <int kSlots>
  static constexpr int64_t smem_bytes(int block_rows) {
    return cuda::smem_bytes<uint2>(block_rows / kWarpRows * CandidateLists<kSlots>::kWarpEntries) +
           stages_bytes(block_rows);
  }
  static constexpr int64_t stages_bytes(int block_rows) {
    return cuda::smem_bytes<uint4>(kStages * stage_chunks(block_rows)) +
           cuda::smem_bytes<float>(kStages * kTileLatents);
  }
};

/// What an SM's registers and lists leave room for: two blocks of 96 rows, or one of 128.
template <class Shape, int kSlots>
struct EncodeResidency {
  static constexpr bool kTwo = !Shape::kStreamed && Shape::kWidthChunks <= 16 && kSlots == 24;
  static constexpr int kRows = kTwo ? 96 : 128;
  static constexpr int kBlocks = kTwo ? 2 : 1;
  static constexpr int kThreads = kRows / kWarpRows * kWarp;
};

/// Where chunk `chunk` of row `row` of a panel lies: loads of neighbouring rows meet different banks, both
/// with chunks t of rows g and with one chunk of rows g or 2t.
BRANCHSAE_DEVICE int panel_chunk(int row, int chunk) {
  return row * kPanelChunks + (chunk ^ ((row & 1) << 2 | ((row >> 1) & 3)));
}

/// Slices of w (and of x, streamed), one after the other through a ring of stages.
template <class Shape>
class SliceStream {
 public:
  BRANCHSAE_DEVICE SliceStream(SmemArena& arena, const EncodeJob<typename Shape::Element>& job,
                               int block_rows)
      : job_(job),
        block_rows_(block_rows),
        chunks_(arena.take<uint4>(Shape::kStages * Shape::stage_chunks(block_rows))),
        bias_(arena.take<float>(Shape::kStages * Shape::kTileLatents)),
        slices_((job.d_padded + Shape::kSliceChannels - 1) / Shape::kSliceChannels),
        tile_(job.first_tile) {
#pragma unroll
    for (int i = 0; i + 1 < Shape::kStages; ++i) issue();
  }

  BRANCHSAE_DEVICE int slices() const {
    return slices_;
  }
  /// Waits for the next slice; it stays until next() is called again. Of the whole block.
  BRANCHSAE_DEVICE void next() {
    wait_async<Shape::kStages - 2>();
    sync_block();
    issue();
    stage_ = stage_ + 1 == Shape::kStages ? 0 : stage_ + 1;
  }
  BRANCHSAE_DEVICE uint4 weights(int panel, int row, int chunk) const {
    return chunks_.load(stage_ * Shape::stage_chunks(block_rows_) +
                        panel * Shape::kTileLatents * kPanelChunks + panel_chunk(row, chunk));
  }
  BRANCHSAE_DEVICE uint4 tokens(int row, int chunk) const {
    return chunks_.load(stage_ * Shape::stage_chunks(block_rows_) + Shape::kTileLatents * kPanelChunks +
                        panel_chunk(row, chunk));
  }
  /// Two neighbouring latents' b_enc; with the first slice of a tile.
  BRANCHSAE_DEVICE float2 bias(int column) const {
    return bias_.template load_as<float2>(stage_ * Shape::kTileLatents + column);
  }

 private:
  /// Starts the copies of one slice, or none after the last.
  BRANCHSAE_DEVICE void issue() {
    if (tile_ < job_.end_tile) {
      const int first = issued_ * Shape::stage_chunks(block_rows_);
      const int chunk = static_cast<int>(threadIdx.x) % kPanelChunks;
#pragma unroll
      for (int panel = 0; panel < Shape::kPanels; ++panel) {
        const int channel =
            slice_ * Shape::kSliceChannels + panel * Shape::kPanelChannels + chunk * Shape::kChunkChannels;
        copy_weights(first + panel * Shape::kTileLatents * kPanelChunks, chunk, channel);
        if constexpr (Shape::kStreamed)
          copy_tokens(first + Shape::kTileLatents * kPanelChunks, chunk, channel);
      }
      if (slice_ == 0) copy_bias();
      slice_ = slice_ + 1 == slices_ ? 0 : slice_ + 1;
      if (slice_ == 0) ++tile_;
    }
    commit_async();
    issued_ = issued_ + 1 == Shape::kStages ? 0 : issued_ + 1;
  }
  BRANCHSAE_DEVICE void copy_weights(int first, int chunk, int channel) {
    const int step = static_cast<int>(blockDim.x) / kPanelChunks;
    for (int row = static_cast<int>(threadIdx.x) / kPanelChunks; row < Shape::kTileLatents; row += step) {
      const int32_t place = tile_ * Shape::kTileLatents + row;
      const bool valid = channel < job_.d_padded && place < job_.places;
      const auto* from =
          valid ? job_.w + static_cast<int64_t>(job_.latent(place)) * job_.d_padded + channel : job_.w;
      copy_async_16(chunks_, first + panel_chunk(row, chunk), from, valid);
    }
  }
  BRANCHSAE_DEVICE void copy_tokens(int first, int chunk, int channel) {
    const int step = static_cast<int>(blockDim.x) / kPanelChunks;
    for (int row = static_cast<int>(threadIdx.x) / kPanelChunks; row < block_rows_; row += step) {
      const bool valid = channel < job_.d_padded && job_.first_row + row < job_.rows;
      const auto* from =
          valid ? job_.x + static_cast<int64_t>(job_.first_row + row) * job_.d_padded + channel : job_.x;
      copy_async_16(chunks_, first + panel_chunk(row, chunk), from, valid);
    }
  }
  BRANCHSAE_DEVICE void copy_bias() {
    for (int i = static_cast<int>(threadIdx.x); i < Shape::kTileLatents; i += static_cast<int>(blockDim.x)) {
      bias_.store(issued_ * Shape::kTileLatents + i, job_.bias(tile_ * Shape::kTileLatents + i));
    }
  }

  const EncodeJob<typename Shape::Element>& job_;
  int block_rows_;
  Smem<uint4> chunks_;
  Smem<float> bias_;
  int slices_;
  int32_t tile_;  // to be copied next, with slice_, into stage issued_
  int slice_ = 0, issued_ = 0;
  int stage_ = Shape::kStages - 1;  // that is read
};

/// Two steps' fragments of 16 rows from the 16 bytes of rows g and g + 8.
struct RowFragments {
  uint32_t first[4], second[4];
};
template <Precision kPrecision>
BRANCHSAE_DEVICE uint32_t operand(uint32_t word) {
  return kPrecision == Precision::kTf32 ? to_tf32(as_float(word)) : word;
}
template <Precision kPrecision>
BRANCHSAE_DEVICE RowFragments row_fragments(uint4 upper, uint4 lower) {
  return {{operand<kPrecision>(upper.x), operand<kPrecision>(lower.x), operand<kPrecision>(upper.y),
           operand<kPrecision>(lower.y)},
          {operand<kPrecision>(upper.z), operand<kPrecision>(lower.z), operand<kPrecision>(upper.w),
           operand<kPrecision>(lower.w)}};
}
/// sums += the 64-byte block's products: 16 rows, 8 latents.
template <Precision kPrecision>
BRANCHSAE_DEVICE void multiply(float (&sums)[4], const RowFragments& rows, uint4 weights) {
  const uint32_t first[2] = {operand<kPrecision>(weights.x), operand<kPrecision>(weights.y)};
  const uint32_t second[2] = {operand<kPrecision>(weights.z), operand<kPrecision>(weights.w)};
  if constexpr (kPrecision == Precision::kBf16) {
    mma_bf16(sums, rows.first, first);
    mma_bf16(sums, rows.second, second);
  } else {
    mma_tf32(sums, rows.first, first);
    mma_tf32(sums, rows.second, second);
  }
}

/// The products of a warp: 16 rows by a tile of latents.
template <Precision kPrecision, int kWidth>
class WarpTile {
  using Shape = EncodeShape<kPrecision, kWidth>;
  static constexpr int kTiles = Shape::kTileLatents / 8;
  static constexpr int kHeldBlocks = Shape::kStreamed ? 1 : Shape::kBlocks;

 public:
  BRANCHSAE_DEVICE WarpTile(const EncodeJob<typename Shape::Element>& job) : d_padded_(job.d_padded) {
    if constexpr (!Shape::kStreamed) {
      const int32_t row = job.first_row + warp_id() * kWarpRows + lane_id() / kQuad;
#pragma unroll
      for (int block = 0; block < Shape::kBlocks; ++block) {
        const int channel = block * Shape::kBlockChannels + lane_id() % kQuad * Shape::kChunkChannels;
        rows_[block] =
            row_fragments<kPrecision>(job.row_chunk(row, channel), job.row_chunk(row + 8, channel));
      }
    }
  }

  /// sums = the tile's pre-activations.
  BRANCHSAE_DEVICE void accumulate(float (&sums)[kTiles][4], SliceStream<Shape>& stream) {
    if constexpr (Shape::kStreamed) {
      for (int slice = 0; slice < stream.slices(); ++slice) {
        stream.next();
        if (slice == 0) begin(sums, stream);
        add_streamed(sums, stream, slice);
      }
    } else {
#pragma unroll
      for (int slice = 0; slice < Shape::kSlices; ++slice) {
        if (slice >= stream.slices()) continue;
        stream.next();
        if (slice == 0) begin(sums, stream);
        add_held(sums, stream, slice);
      }
    }
  }

 private:
  BRANCHSAE_DEVICE void begin(float (&sums)[kTiles][4], const SliceStream<Shape>& stream) {
#pragma unroll
    for (int j = 0; j < kTiles; ++j) {
      const float2 bias = stream.bias(8 * j + 2 * (lane_id() % kQuad));
      sums[j][0] = sums[j][2] = bias.x;
      sums[j][1] = sums[j][3] = bias.y;
    }
  }
  BRANCHSAE_DEVICE void add_held(float (&sums)[kTiles][4], const SliceStream<Shape>& stream, int slice) {
    constexpr int kSliceBlocks = Shape::kPanels * kPanelBlocks;
#pragma unroll
    for (int b = 0; b < kSliceBlocks; ++b) {
      const int block = slice * kSliceBlocks + b;
      if (block * Shape::kBlockChannels < d_padded_)
        add_block(sums, stream, rows_[block], b / kPanelBlocks, b % kPanelBlocks);
    }
  }
  BRANCHSAE_DEVICE void add_streamed(float (&sums)[kTiles][4], const SliceStream<Shape>& stream, int slice) {
    const int row = warp_id() * kWarpRows + lane_id() / kQuad;
    if constexpr (kPrecision == Precision::kF32) {
#pragma unroll 2
      for (int chunk = 0; chunk < kPanelChunks; ++chunk) add_chunk(sums, stream, row, chunk);
    } else {
#pragma unroll
      for (int b = 0; b < kPanelBlocks; ++b) {
        if (slice * Shape::kSliceChannels + b * Shape::kBlockChannels >= d_padded_) continue;
        const int chunk = kQuad * b + lane_id() % kQuad;
        const RowFragments rows =
            row_fragments<kPrecision>(stream.tokens(row, chunk), stream.tokens(row + 8, chunk));
        add_block(sums, stream, rows, 0, b);
      }
    }
  }
  BRANCHSAE_DEVICE void add_block(float (&sums)[kTiles][4], const SliceStream<Shape>& stream,
                                  const RowFragments& rows, int panel, int b) {
#pragma unroll
    for (int j = 0; j < kTiles; ++j) {
      multiply<kPrecision>(sums[j], rows,
                           stream.weights(panel, 8 * j + lane_id() / kQuad, kQuad * b + lane_id() % kQuad));
    }
  }
  /// Four channels in float, in the layout of the tensor cores' sums.
  BRANCHSAE_DEVICE void add_chunk(float (&sums)[kTiles][4], const SliceStream<Shape>& stream, int row,
                                  int chunk) {
    const uint4 x[2] = {stream.tokens(row, chunk), stream.tokens(row + 8, chunk)};
#pragma unroll
    for (int i = 0; i < 2 * kTiles; ++i) {
      const uint4 w = stream.weights(0, 8 * (i / 2) + 2 * (lane_id() % kQuad) + i % 2, chunk);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float& sum = sums[i / 2][2 * half + i % 2];
        sum = fma(as_float(x[half].x), as_float(w.x), sum);
        sum = fma(as_float(x[half].y), as_float(w.y), sum);
        sum = fma(as_float(x[half].z), as_float(w.z), sum);
        sum = fma(as_float(x[half].w), as_float(w.w), sum);
      }
    }
  }

  int32_t d_padded_;
  RowFragments rows_[kHeldBlocks];
};

template <Precision kPrecision, int kWidth, int kSlots>
__global__ void __launch_bounds__(EncodeResidency<EncodeShape<kPrecision, kWidth>, kSlots>::kThreads,
                                  EncodeResidency<EncodeShape<kPrecision, kWidth>, kSlots>::kBlocks)
    encode_topk_kernel(const SaeDesc* saes, WorkList work, EncodeTarget target, int32_t splits) {
  using Shape = EncodeShape<kPrecision, kWidth>;
  const WorkItem item = work.items[blockIdx.x];
  const SaeDesc& sae = saes[item.sae];
  const int block_rows = static_cast<int>(blockDim.x) / kWarp * kWarpRows;
  const EncodeJob<typename Shape::Element> job(sae, target.dead, item.tile / splits * block_rows,
                                               item.tile % splits, splits, Shape::kTileLatents);
  if (job.first_row >= job.rows) return;

  SmemArena arena;
  constexpr int kEntries = CandidateLists<kSlots>::kWarpEntries;
  const Smem<uint2> slots = arena.take<uint2>(block_rows / kWarpRows * kEntries);
  const int32_t warp_row = job.first_row + warp_id() * kWarpRows;
  const int32_t warp_rows = job.rows - warp_row;
  CandidateLists<kSlots> lists(slots.part(warp_id() * kEntries, kEntries), EncodeOutput::k_of(sae, target),
                               warp_rows);
  WarpTile<kPrecision, kWidth> products(job);
  SliceStream<Shape> stream(arena, job, block_rows);
  for (int32_t tile = job.first_tile; tile < job.end_tile; ++tile) {
    float sums[Shape::kTileLatents / 8][4];
    products.accumulate(sums, stream);
    lists.offer(sums, tile * Shape::kTileLatents);
  }
  const EncodeOutput output(sae, target, item.tile % splits, splits);
  lists.finish(output.values, output.indices, warp_row, warp_rows, job.latents);
  if (lists.flags() != 0) atomic_or(&sae.state->flags, lists.flags());
}

}  // namespace branchsae::cuda
