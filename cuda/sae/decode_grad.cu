#include "cuda/sae/decode_grad.h"

#include <algorithm>
#include <bit>

#include "cuda/kernels/decode_grad.cuh"
#include "cuda/launch.h"

namespace branchsae::cuda {
namespace {

template <class T>
auto kernel_for(bool held) {
  return held ? decode_grad_kernel<T, true> : decode_grad_kernel<T, false>;
}

constexpr int32_t kManyChannels = 1024;

int32_t decode_warps(int32_t channels) {
  return channels <= kManyChannels ? kDecodeWarps : kWideDecodeWarps;
}

}  // namespace

DecodeGradVariant decode_grad_variant(const SaeDesc& sae) {
  // Classes of widths, so that a group takes few launches; above kManyChannels room is dear.
  int32_t channels = sae.d_padded;
  if (channels <= kManyChannels)
    channels = static_cast<int32_t>(std::bit_ceil(static_cast<uint32_t>(std::max(64, channels))));
  return {sae.precision == Precision::kBf16, sae.k <= kGroupSlots, channels};
}

int64_t decode_grad_smem(int32_t channels) {
  const int64_t warps = decode_warps(channels);
  return smem_bytes<float>(warps * channels) + smem_bytes<double>(3 * warps);
}

void add_decode_grad_work(int32_t index, const SaeDesc& sae, std::vector<WorkItem>& work) {
  const int32_t tiles = (sae.max_batch + kSumRows - 1) / kSumRows;
  for (int32_t tile = 0; tile < tiles; ++tile) work.push_back({index, tile});
}

void decode_grad(cudaStream_t stream, const DecodeGradVariant& variant, const SaeDesc* saes, WorkList work) {
  const auto kernel = variant.bf16 ? kernel_for<Bf16>(variant.held) : kernel_for<float>(variant.held);
  launch(kernel, "decode_grad",
         {.grid = work.count,
          .block = decode_warps(variant.channels) * kWarp,
          .smem_bytes = decode_grad_smem(variant.channels)},
         stream, saes, work, variant.channels);
}

}  // namespace branchsae::cuda
