#pragma once
// Names an instantiation of encode_topk_kernel for its launcher.
#include "cuda/kernels/encode_topk.cuh"
#include "cuda/sae/encode_kernels.h"

namespace branchsae::cuda {

template <Precision kPrecision, int kWidth, int kSlots>
EncodeKernel encode_instance() {
  using Shape = EncodeShape<kPrecision, kWidth>;
  using Residency = EncodeResidency<Shape, kSlots>;
  return {encode_topk_kernel<kPrecision, kWidth, kSlots>,
          [](int32_t block_rows) { return Shape::template smem_bytes<kSlots>(block_rows); }, Residency::kRows,
          Residency::kRows / kWarpRows * Residency::kBlocks};
}

/// kWidth held in registers, for both sizes of lists.
template <Precision kPrecision, int kWidth>
EncodeKernel encode_instance(bool wide) {
  return wide ? encode_instance<kPrecision, kWidth, 32>() : encode_instance<kPrecision, kWidth, 24>();
}

}  // namespace branchsae::cuda
