#pragma once
// Scalars of the kernels: bf16 as bits, bit casts, arithmetic that rounds the same in every compiler.
// Kernels use these instead of the toolkit's own headers, so that they also compile for the SIMT emulator,
// where a twin of this file takes its place. No product is contracted into an fma unless fma() is written.
#include <cstdint>

namespace branchsae::cuda {

/// Functions of kernels.
#define BRANCHSAE_DEVICE __device__ __forceinline__
/// Functions of both sides.
#define BRANCHSAE_HOST_DEVICE __host__ __device__

/// The upper half of a float.
struct Bf16 {
  uint16_t bits;
};

BRANCHSAE_DEVICE uint32_t as_uint(float value) {
  return __float_as_uint(value);
}
BRANCHSAE_DEVICE float as_float(uint32_t bits) {
  return __uint_as_float(bits);
}

BRANCHSAE_DEVICE float to_float(Bf16 value) {
  return as_float(static_cast<uint32_t>(value.bits) << 16);
}
BRANCHSAE_DEVICE float to_float(float value) {
  return value;
}

/// Two neighbours in memory: `low` first. To the nearest, ties to even; NaN becomes 0x7fff.
BRANCHSAE_DEVICE uint32_t pack_bf16(float low, float high) {
  uint32_t result;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(high), "f"(low));
  return result;
}
BRANCHSAE_DEVICE float low_bf16(uint32_t pair) {
  return as_float(pair << 16);
}
BRANCHSAE_DEVICE float high_bf16(uint32_t pair) {
  return as_float(pair & 0xffff0000U);
}
BRANCHSAE_DEVICE Bf16 to_bf16(float value) {
  return {static_cast<uint16_t>(pack_bf16(value, 0.0F) & 0xffffU)};
}

/// IEEE half precision.
struct Half {
  uint16_t bits;
};
BRANCHSAE_DEVICE float to_float(Half value) {
  float result;
  asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(value.bits));
  return result;
}
/// As pack_bf16(); beyond 65504 becomes infinity.
BRANCHSAE_DEVICE uint32_t pack_half(float low, float high) {
  uint32_t result;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(high), "f"(low));
  return result;
}
BRANCHSAE_DEVICE float low_half(uint32_t pair) {
  return to_float(Half{static_cast<uint16_t>(pair & 0xffffU)});
}
BRANCHSAE_DEVICE float high_half(uint32_t pair) {
  return to_float(Half{static_cast<uint16_t>(pair >> 16)});
}

/// The float's bits rounded to TF32's 10-bit mantissa: nearest, ties away from zero.
BRANCHSAE_DEVICE uint32_t to_tf32(float value) {
  uint32_t result;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(result) : "f"(value));
  return result;
}

BRANCHSAE_DEVICE float fma(float a, float b, float c) {
  return __fmaf_rn(a, b, c);
}
BRANCHSAE_DEVICE float divide(float a, float b) {
  return __fdiv_rn(a, b);
}
/// Within a few units in the last place, not the same in every world: for guesses that no result depends on.
BRANCHSAE_DEVICE float approximate_quotient(float a, float b) {
  return __fdividef(a, b);
}
BRANCHSAE_DEVICE float square_root(float a) {
  return __fsqrt_rn(a);
}
BRANCHSAE_DEVICE double square_root(double a) {
  return __dsqrt_rn(a);
}
BRANCHSAE_DEVICE double fma(double a, double b, double c) {
  return __fma_rn(a, b, c);
}

/// e^a and base^exponent to within 2 ulp; the last bits may differ from the emulator's.
BRANCHSAE_DEVICE float exponential(float a) {
  return expf(a);
}
BRANCHSAE_DEVICE float power(float base, float exponent) {
  return powf(base, exponent);
}

/// False for NaN and the infinities.
BRANCHSAE_DEVICE bool is_finite(float value) {
  return (as_uint(value) & 0x7f800000U) != 0x7f800000U;
}
BRANCHSAE_DEVICE bool is_nan(float value) {
  return (as_uint(value) & 0x7fffffffU) > 0x7f800000U;
}

BRANCHSAE_DEVICE int count_bits(uint32_t mask) {
  return __popc(mask);
}
/// Position of the lowest bit set; -1 for none.
BRANCHSAE_DEVICE int lowest_bit(uint32_t mask) {
  return __ffs(static_cast<int>(mask)) - 1;
}
/// Leading zeros; 32 for 0.
BRANCHSAE_DEVICE int leading_zeros(uint32_t mask) {
  return __clz(static_cast<int>(mask));
}

// Global memory: plain pointers. float4, uint4, float2, uint2, int4 and make_*() are there in both worlds.

/// A load that may go through the read-only cache: for memory that the kernel does not write.
template <class T>
BRANCHSAE_DEVICE T load_read_only(const T* from) {
  return __ldg(from);
}

}  // namespace branchsae::cuda
