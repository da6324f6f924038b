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

}  // namespace

DecodeGradVariant decode_grad_variant(const SaeDesc& sae) {
  // Classes of widths, so that a group takes few launches; above 1024 room is dear.
  const auto channels = sae.d_padded > 1024 ? sae.d_padded : std::max(int32_t{64}, sae.d_padded);
  return {sae.precision == Precision::kBf16, sae.k <= kGroupSlots,
          channels > 1024 ? channels : static_cast<int32_t>(std::bit_ceil(static_cast<uint32_t>(channels)))};
}

void add_decode_grad_work(int32_t index, const SaeDesc& sae, std::vector<WorkItem>& work) {
  const int32_t tiles = (sae.max_batch + kSumRows - 1) / kSumRows;
  for (int32_t tile = 0; tile < tiles; ++tile) work.push_back({index, tile});
}

void decode_grad(cudaStream_t stream, const DecodeGradVariant& variant, const SaeDesc* saes, WorkList work) {
  const auto kernel = variant.bf16 ? kernel_for<Bf16>(variant.held) : kernel_for<float>(variant.held);
  const int64_t smem =
      smem_bytes<float>(kDecodeWarps * variant.channels) + smem_bytes<double>(3 * kDecodeWarps);
  launch(kernel, "decode_grad", {.grid = work.count, .block = kDecodeWarps * kWarp, .smem_bytes = smem},
         stream, saes, work, variant.channels);
}

}  // namespace branchsae::cuda
