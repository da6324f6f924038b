#pragma once
// One step of Adam on one number; square root and division are rounded, so every device gives the same bits.
#include "cuda/arch/types.cuh"
#include "cuda/sae/sae_desc.h"

namespace branchsae::cuda {

struct AdamNumbers {
  float beta1, beta2, epsilon, step_size, square_correction;

  BRANCHSAE_DEVICE explicit AdamNumbers(const SaeBatch& batch)
      : beta1(batch.beta1),
        beta2(batch.beta2),
        epsilon(batch.epsilon),
        step_size(batch.step_size),
        square_correction(batch.square_correction) {}

  BRANCHSAE_DEVICE void apply(float gradient, float& w, float& m, float& v) const {
    constexpr float kLeast = 1.17549435e-38F;  // 0 / 0 is 0 when epsilon is 0
    m = fma(beta1, m, (1.0F - beta1) * gradient);
    v = fma(beta2, v, (1.0F - beta2) * gradient * gradient);
    const float divisor = square_root(v * square_correction) + epsilon;
    w -= divide(step_size * m, divisor < kLeast ? kLeast : divisor);
  }
  BRANCHSAE_DEVICE void apply(float4 gradient, float4& w, float4& m, float4& v) const {
    apply(gradient.x, w.x, m.x, v.x);
    apply(gradient.y, w.y, m.y, v.y);
    apply(gradient.z, w.z, m.z, v.z);
    apply(gradient.w, w.w, m.w, v.w);
  }
};

}  // namespace branchsae::cuda
