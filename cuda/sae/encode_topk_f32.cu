#include "cuda/sae/encode_instance.cuh"

namespace branchsae::cuda {

EncodeKernel encode_kernel_f32(int32_t /*width*/, bool wide) {
  return encode_instance<Precision::kF32, 0>(wide);
}

}  // namespace branchsae::cuda
