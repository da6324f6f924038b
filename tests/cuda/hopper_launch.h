#pragma once
#include "cuda/tensor_map.h"
#include "tests/cuda/kernel_test.h"

namespace branchsae::cuda::test {

/// c[64, n] = a[64, d] b[n, d]^T of bf16, by TMA and wgmma; n is 64 or 128, c on the device.
void multiply_rows(int n, const TensorMap& a, const TensorMap& b, int d, float* c);

}  // namespace branchsae::cuda::test
