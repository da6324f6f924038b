#pragma once
/// One kernel per family of wrappers in cuda/arch: each thread or warp does the operation on what the test
/// hands in.
#include "tests/cuda/kernel_test.h"

namespace branchsae::cuda::test {

/// Element-wise: bf16[2i], [2i + 1] of in as one word; to_tf32; fma, divide, square_root of neighbours; bit
/// counts.
void convert(const Buffer<float>& in, const Buffer<uint32_t>& packed, const Buffer<uint32_t>& tf32);
/// out[4 i ..] = fma(a, b, c), a / b, sqrt(a), warp_sum of a, for 32 threads.
void arithmetic(const Buffer<float>& a, const Buffer<float>& b, const Buffer<float>& c,
                const Buffer<float>& out);
/// out[3 i ..] = count_bits, lowest_bit, leading_zeros; then is_finite, is_nan of the bits as a float.
void bits(const Buffer<uint32_t>& in, const Buffer<int32_t>& out);
/// out[lane, 8] = shuffle, xor, up, down by `by` within `width`; ballot, any, all of lane < by; block's
/// count.
void exchanges(int by, int width, const Buffer<uint32_t>& out);
/// Every thread adds, ors, takes the maximum; old values of the addition to `olds`.
void atomics(const Buffer<int32_t>& sum, const Buffer<uint32_t>& all_bits, const Buffer<int32_t>& largest,
             const Buffer<int32_t>& olds);
/// c += a b through shared memory, ldmatrix and mma: bf16 a [16, 16], b [8, 16] (rows are columns), c [16,
/// 8].
void product_bf16(const Buffer<uint16_t>& a, const Buffer<uint16_t>& b, const Buffer<float>& c);
/// The same with TF32 and a [16, 8], b [8, 8].
void product_tf32(const Buffer<float>& a, const Buffer<float>& b, const Buffer<float>& c);
/// out = in by way of shared memory in two groups of cp.async, zeros for the rows from `valid` on; 64
/// threads, 16 bytes each a group.
void copies(const Buffer<int32_t>& in, int valid, const Buffer<int32_t>& out);
/// Shared memory by words of every size, in parts, and atomically; returns to `out` what 64 threads saw.
void shared_words(const Buffer<int32_t>& out);
/// Two halves of a block meet at barriers of their own, one hands its values over without waiting.
void named_barriers(const Buffer<int32_t>& out);

}  // namespace branchsae::cuda::test
