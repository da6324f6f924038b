#include "cuda/sae/encode_instance.cuh"

namespace branchsae::cuda {

EncodeKernel encode_kernel_bf16(int32_t width, bool wide) {
  switch (width) {
    case 64:
      return encode_instance<Precision::kBf16, 64>(wide);
    case 128:
      return encode_instance<Precision::kBf16, 128>(wide);
    case 256:
      return encode_instance<Precision::kBf16, 256>(wide);
    case 512:
      return encode_instance<Precision::kBf16, 512, 24>();
    default:
      return encode_instance<Precision::kBf16, 0>(wide);
  }
}

}  // namespace branchsae::cuda
