#pragma once
/// Vector kernels on runs of floats, chosen for the processor at run time.
#include <cstdint>

#include "engine/graph.h"

namespace branchsae::cpu {

/// dst[i] = scale[i % 16] * src[i] + shift[i % 16], fused multiply-add where the processor has it.
void affine_run(const float* src, float* dst, int64_t count, const float* scale, const float* shift);
/// dst[i] = max(src[i], 0)
void relu_run(const float* src, float* dst, int64_t count);
/// dst[i] = min(max(src[i], low), high)
void clip_run(const float* src, float* dst, int64_t count, float low, float high);
void binary_run(BinaryOp::Kind kind, const float* left, const float* right, float* dst, int64_t count);

}  // namespace branchsae::cpu
