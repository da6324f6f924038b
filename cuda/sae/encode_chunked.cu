#include "cuda/kernels/project_chunk.cuh"
#include "cuda/kernels/select_chunk.cuh"
#include "cuda/launch.h"
#include "cuda/sae/encode_kernels.h"

namespace branchsae::cuda {
namespace {

static_assert(kChunkRowStep % kProjectRows == 0 && kChunkRowStep % kSelectRows == 0);

template <Precision kPrecision>
void project(cudaStream_t stream, const SaeDesc* saes, WorkList work, const EncodeTarget& target,
             const ChunkShape& shape) {
  using Tile = EncodeShape<kPrecision, 0>;
  launch(project_chunk_kernel<kPrecision>, "project_chunk",
         {.grid = int64_t{work.count} * shape.row_tiles() * shape.latent_tiles(),
          .block = kProjectRows / kWarpRows * kWarp,
          .smem_bytes = Tile::stages_bytes(kProjectRows)},
         stream, saes, work, target, shape);
}

}  // namespace

void encode_chunked(cudaStream_t stream, const EncodeVariant& variant, const SaeDesc* saes, WorkList work,
                    const EncodeTarget& target) {
  for (int32_t chunk = 0; chunk < variant.chunks; ++chunk) {
    const ChunkShape shape{chunk, variant.chunk_rows, variant.n_padded};
    switch (variant.precision) {
      case Precision::kF32:
        project<Precision::kF32>(stream, saes, work, target, shape);
        break;
      case Precision::kTf32:
        project<Precision::kTf32>(stream, saes, work, target, shape);
        break;
      case Precision::kBf16:
        project<Precision::kBf16>(stream, saes, work, target, shape);
        break;
    }
    launch(select_chunk_kernel, "select_chunk",
           {.grid = int64_t{work.count} * shape.rows / kSelectRows, .block = kSelectRows * kWarp}, stream,
           saes, work, target, shape);
  }
}

}  // namespace branchsae::cuda
