#pragma once
/// The instantiations of the encode's kernels, for encode_topk.cpp alone. One file each: they take long to
/// compile.
#include <cuda_runtime_api.h>

#include <cstdint>
#include <vector>

#include "cuda/sae/encode_topk.h"
#include "cuda/tensor_map.h"

namespace branchsae::cuda {

struct EncodeKernel {
  void (*function)(const SaeDesc*, WorkList, EncodeTarget, int32_t splits);
  int64_t (*smem_bytes)(int32_t block_rows);
  int32_t max_rows;        ///< of a block
  int32_t resident_warps;  ///< that an SM's registers hold
};

/// width  a class that encode_width() gives
EncodeKernel encode_kernel_f32(int32_t width, bool wide);
EncodeKernel encode_kernel_tf32(int32_t width, bool wide);
EncodeKernel encode_kernel_bf16(int32_t width, bool wide);

constexpr int32_t kHopperBlockRows = 128;
/// most_smem_bytes  of a block
void encode_hopper(cudaStream_t stream, const EncodeVariant& variant, const SaeDesc* saes, WorkList work,
                   const EncodeTarget& target, int64_t most_smem_bytes);
/// Of x and w16.
std::vector<TensorMap> encode_maps(const SaeDesc& sae);

constexpr int32_t kChunkRowStep = 64;  ///< tokens of a chunk are a multiple
void encode_chunked(cudaStream_t stream, const EncodeVariant& variant, const SaeDesc* saes, WorkList work,
                    const EncodeTarget& target);

}  // namespace branchsae::cuda
