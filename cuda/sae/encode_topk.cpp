#include "cuda/sae/encode_topk.h"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <string_view>

#include "cuda/launch.h"
#include "cuda/sae/encode_kernels.h"

namespace branchsae::cuda {
namespace {

constexpr int32_t kWarpTokens = 16;          // of encode_topk
constexpr int64_t kChunkBytes = 16LL << 20;  // of pre-activations: leaves L2 room for the weights
constexpr int32_t kMaxSplits = 8;
constexpr int32_t kSplitLatents = 512;         // a share is not worth a block below
constexpr int64_t kReservedBlockBytes = 1024;  // of shared memory, by the system

int32_t round_up(int32_t value, int32_t step) {
  return (value + step - 1) / step * step;
}

int32_t device_attribute(cudaDeviceAttr attribute, std::string_view what) {
  int device = 0, value = 0;
  check(cudaGetDevice(&device), "find the current device");
  check(cudaDeviceGetAttribute(&value, attribute, device), what);
  return value;
}

bool is_wide(int32_t k) {
  return k > 32;
}

/// The narrowest class that holds a row of x in registers; 0 when none does. The widest leaves no registers
/// for the longer lists of `wide`.
int32_t width_class(const SaeDesc& sae, bool wide) {
  const int32_t widest = sae.precision == Precision::kF32 ? 0 : sae.precision == Precision::kTf32 ? 256 : 512;
  for (int32_t width = 64; width <= (wide ? widest / 2 : widest); width *= 2) {
    if (sae.d_padded <= width) return width;
  }
  return 0;
}

EncodeKernel kernel_of(const EncodeVariant& variant) {
  switch (variant.precision) {
    case Precision::kBf16:
      return encode_kernel_bf16(variant.width, variant.wide != 0);
    case Precision::kTf32:
      return encode_kernel_tf32(variant.width, variant.wide != 0);
    case Precision::kF32:
      break;
  }
  return encode_kernel_f32(variant.width, variant.wide != 0);
}

struct Residency {
  int32_t block_rows, blocks;  // of an SM
};

/// Fills an SM with as many warps as shared memory and registers allow; of equal choices the largest block,
/// which reads the weights least often.
Residency residency(const EncodeKernel& kernel) {
  const int64_t of_block =
      device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, "shared memory of a block");
  const int64_t of_sm =
      device_attribute(cudaDevAttrMaxSharedMemoryPerMultiprocessor, "shared memory of a multiprocessor");
  Residency best{kWarpTokens, 1};
  for (int32_t rows = kernel.max_rows; rows >= kWarpTokens; rows -= kWarpTokens) {
    const int64_t bytes = kernel.smem_bytes(rows);
    if (bytes > of_block) continue;
    const auto blocks = static_cast<int32_t>(
        std::min(of_sm / (bytes + kReservedBlockBytes), int64_t{kernel.resident_warps} * kWarpTokens / rows));
    if (blocks * rows > best.blocks * best.block_rows) best = {rows, blocks};
  }
  return best;
}

/// kSm90a until a GPU shows it to be faster: by request only.
bool wants_hopper(const SaeDesc& sae) {
  const char* route = std::getenv("BRANCHSAE_ENCODE");
  return route != nullptr && std::string_view(route) == "hopper" && sae.precision == Precision::kBf16 &&
         !is_wide(sae.k) &&
         device_attribute(cudaDevAttrComputeCapabilityMajor, "compute capability of the device") == 9;
}

EncodeVariant chunked_variant(const SaeDesc& sae) {
  const int64_t fitting = kChunkBytes / (int64_t{sae.n_padded} * static_cast<int64_t>(sizeof(float)));
  EncodeVariant variant{.route = EncodeRoute::kChunked, .precision = sae.precision};
  variant.n_padded = sae.n_padded;
  variant.chunk_rows =
      static_cast<int32_t>(std::clamp(fitting / kChunkRowStep * kChunkRowStep, int64_t{kChunkRowStep},
                                      int64_t{round_up(sae.max_batch, kChunkRowStep)}));
  variant.chunks = (sae.max_batch + variant.chunk_rows - 1) / variant.chunk_rows;
  return variant;
}

EncodeVariant fused_variant(const SaeDesc& sae, int32_t k) {
  EncodeVariant variant{.route = EncodeRoute::kTensor, .precision = sae.precision};
  variant.wide = is_wide(k) ? 1 : 0;
  variant.width = width_class(sae, is_wide(k));
  variant.block_rows = residency(kernel_of(variant)).block_rows;
  return variant;
}

/// Shares of the latents that fill the device when the tokens alone do not.
int32_t useful_splits(const SaeDesc& sae, int32_t k) {
  const EncodeVariant variant = fused_variant(sae, k);
  const int32_t slots = residency(kernel_of(variant)).blocks *
                        device_attribute(cudaDevAttrMultiProcessorCount, "number of multiprocessors");
  const int32_t tiles = (sae.max_batch + variant.block_rows - 1) / variant.block_rows;
  return std::clamp(slots / tiles, 1, std::clamp(sae.n / kSplitLatents, 1, kMaxSplits));
}

}  // namespace

void plan_encode(SaeDesc& sae, Workspace& workspace) {
  sae.encode_splits = 1;
  sae.split_k = 0;
  for (const int32_t k : {sae.k, sae.aux_k}) {
    if (k > 0 && k <= kMaxFusedK) sae.split_k = std::max(sae.split_k, k);
  }
  if (sae.split_k > 0) sae.encode_splits = useful_splits(sae, sae.split_k);
  if (sae.encode_splits > 1) {
    const int64_t slots = int64_t{sae.encode_splits} * sae.max_batch * sae.split_k;
    sae.split_values = workspace.take<float>(slots, "selection");
    sae.split_indices = workspace.take<int32_t>(slots, "selection");
  }
  if (wants_hopper(sae)) sae.encode_maps = workspace.take<TensorMap>(2, "selection");
  const int64_t floats = scratch_floats(sae, std::max(sae.k, sae.aux_k));
  if (floats > 0) sae.chunk = workspace.take<float>(floats, "selection");
}

EncodeVariant encode_variant(const SaeDesc& sae, int32_t k, bool whole) {
  if (k > kMaxFusedK) return chunked_variant(sae);
  EncodeVariant variant = fused_variant(sae, k);
  variant.splits = whole || k > sae.split_k ? 1 : std::max(sae.encode_splits, 1);
  return variant;
}

EncodeVariant main_encode_variant(const SaeDesc& sae, bool whole) {
  EncodeVariant variant = encode_variant(sae, sae.k, whole);
  if (sae.encode_maps == nullptr) return variant;
  constexpr int32_t kWidestHeld = 256;  // in shared memory
  variant.route = EncodeRoute::kSm90a;
  variant.width = width_class(sae, false) <= kWidestHeld ? width_class(sae, false) : 0;
  variant.block_rows = kHopperBlockRows;
  return variant;
}

void prepare_encode_sync(cudaStream_t stream, const SaeDesc& sae) {
  if (sae.encode_maps == nullptr) return;
  const std::vector<TensorMap> maps = encode_maps(sae);
  check(cudaMemcpyAsync(sae.encode_maps, maps.data(), maps.size() * sizeof(TensorMap), cudaMemcpyHostToDevice,
                        stream),
        "copy the encode's tensor maps");
  check(cudaStreamSynchronize(stream), "copy the encode's tensor maps");
}

int64_t scratch_floats(const SaeDesc& sae, int32_t k) {
  if (k <= kMaxFusedK) return 0;
  return int64_t{chunked_variant(sae).chunk_rows} * sae.n_padded;
}

std::vector<WorkItem> encode_work(int32_t sae, const SaeDesc& desc, const EncodeVariant& variant) {
  if (variant.route == EncodeRoute::kChunked) return {{sae, 0}};
  const int32_t tiles = (desc.max_batch + variant.block_rows - 1) / variant.block_rows;
  std::vector<WorkItem> work;
  for (int32_t tile = 0; tile < tiles * variant.splits; ++tile) work.push_back({sae, tile});
  return work;
}

void encode_topk(cudaStream_t stream, const EncodeVariant& variant, const SaeDesc* saes, WorkList work,
                 const EncodeTarget& target) {
  if (variant.route == EncodeRoute::kChunked) return encode_chunked(stream, variant, saes, work, target);
  if (variant.route == EncodeRoute::kSm90a) {
    const int64_t smem =
        device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, "shared memory of a block");
    return encode_hopper(stream, variant, saes, work, target, smem);
  }
  constexpr int kWarpThreads = 32;
  const EncodeKernel kernel = kernel_of(variant);
  launch(kernel.function, "encode_topk",
         {.grid = work.count,
          .block = variant.block_rows / kWarpTokens * kWarpThreads,
          .smem_bytes = kernel.smem_bytes(variant.block_rows)},
         stream, saes, work, target, variant.splits);
}

}  // namespace branchsae::cuda
