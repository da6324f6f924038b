#include "cuda/kernels/encode_topk.cuh"
namespace branchsae::cuda {
template __global__ void encode_topk_kernel<Precision::kBf16,64,24>(const SaeDesc*, WorkList, EncodeTarget, int32_t);
template __global__ void encode_topk_kernel<Precision::kBf16,128,24>(const SaeDesc*, WorkList, EncodeTarget, int32_t);
template __global__ void encode_topk_kernel<Precision::kBf16,512,24>(const SaeDesc*, WorkList, EncodeTarget, int32_t);
template __global__ void encode_topk_kernel<Precision::kBf16,512,32>(const SaeDesc*, WorkList, EncodeTarget, int32_t);
template __global__ void encode_topk_kernel<Precision::kBf16,0,24>(const SaeDesc*, WorkList, EncodeTarget, int32_t);
template __global__ void encode_topk_kernel<Precision::kTf32,256,24>(const SaeDesc*, WorkList, EncodeTarget, int32_t);
template __global__ void encode_topk_kernel<Precision::kTf32,256,32>(const SaeDesc*, WorkList, EncodeTarget, int32_t);
template __global__ void encode_topk_kernel<Precision::kF32,0,32>(const SaeDesc*, WorkList, EncodeTarget, int32_t);
}
