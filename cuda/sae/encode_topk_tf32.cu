#include "cuda/sae/encode_instance.cuh"

namespace branchsae::cuda {

EncodeKernel encode_kernel_tf32(int32_t width, bool wide) {
  switch (width) {
    case 64:
      return encode_instance<Precision::kTf32, 64>(wide);
    case 128:
      return encode_instance<Precision::kTf32, 128>(wide);
    case 256:
      return encode_instance<Precision::kTf32, 256, 24>();
    default:
      return encode_instance<Precision::kTf32, 0>(wide);
  }
}

}  // namespace branchsae::cuda
