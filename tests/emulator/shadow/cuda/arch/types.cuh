#pragma once
/// Twin of cuda/arch/types.cuh for the emulator.
#include <bit>
#include <cmath>
#include <cstdint>

#include "tests/emulator/collectives.h"
#include "tests/emulator/device_language.h"

namespace branchsae::cuda {

#define BRANCHSAE_DEVICE inline
#define BRANCHSAE_HOST_DEVICE

struct Bf16 {
  uint16_t bits;
};

BRANCHSAE_DEVICE uint32_t as_uint(float value) {
  return std::bit_cast<uint32_t>(value);
}
BRANCHSAE_DEVICE float as_float(uint32_t bits) {
  return std::bit_cast<float>(bits);
}

BRANCHSAE_DEVICE float to_float(Bf16 value) {
  return as_float(static_cast<uint32_t>(value.bits) << 16);
}
BRANCHSAE_DEVICE float to_float(float value) {
  return value;
}

BRANCHSAE_DEVICE Bf16 to_bf16(float value) {
  const uint32_t bits = as_uint(value);
  if ((bits & 0x7fffffffU) > 0x7f800000U) return {0x7fff};
  // To the nearest: half a unit more, less a bit when the last bit kept is even, so that ties go to even.
  return {static_cast<uint16_t>((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16)};
}
BRANCHSAE_DEVICE uint32_t pack_bf16(float low, float high) {
  return static_cast<uint32_t>(to_bf16(low).bits) | static_cast<uint32_t>(to_bf16(high).bits) << 16;
}
BRANCHSAE_DEVICE float low_bf16(uint32_t pair) {
  return as_float(pair << 16);
}
BRANCHSAE_DEVICE float high_bf16(uint32_t pair) {
  return as_float(pair & 0xffff0000U);
}

struct Half {
  uint16_t bits;
};
BRANCHSAE_DEVICE float to_float(Half value) {
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000U) << 16;
  const uint32_t magnitude = value.bits & 0x7fffU;
  if (magnitude >= 0x7c00U) return as_float(sign | 0x7f800000U | (magnitude & 0x3ffU) << 13);
  if (magnitude < 0x400U) return as_float(sign | as_uint(static_cast<float>(magnitude) * 0x1p-24F));
  return as_float(sign | ((magnitude << 13) + 0x38000000U));
}
BRANCHSAE_DEVICE Half to_half(float value) {
  const uint32_t bits = as_uint(value), magnitude = bits & 0x7fffffffU;
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000U);
  if (magnitude > 0x7f800000U) return {0x7fff};
  // Halfway between the largest finite number and the next power of two, ties to even: infinity.
  if (magnitude >= 0x477ff000U) return {static_cast<uint16_t>(sign | 0x7c00U)};
  if (magnitude < 0x38800000U) {  // subnormal: a multiple of 2^-24, which the sum's last bit is
    const uint32_t units = as_uint(as_float(magnitude) + 0.5F) - as_uint(0.5F);
    return {static_cast<uint16_t>(sign | units)};
  }
  const uint32_t rounded = magnitude + 0xfffU + (magnitude >> 13 & 1U);
  return {static_cast<uint16_t>(sign | (rounded - 0x38000000U) >> 13)};
}
BRANCHSAE_DEVICE uint32_t pack_half(float low, float high) {
  return static_cast<uint32_t>(to_half(low).bits) | static_cast<uint32_t>(to_half(high).bits) << 16;
}
BRANCHSAE_DEVICE float low_half(uint32_t pair) {
  return to_float(Half{static_cast<uint16_t>(pair & 0xffffU)});
}
BRANCHSAE_DEVICE float high_half(uint32_t pair) {
  return to_float(Half{static_cast<uint16_t>(pair >> 16)});
}

BRANCHSAE_DEVICE uint32_t to_tf32(float value) {
  const uint32_t bits = as_uint(value);
  if ((bits & 0x7f800000U) == 0x7f800000U) return bits & 0x007fffffU ? 0x7fffffffU : bits;
  return (bits + 0x1000U) & 0xffffe000U;
}

BRANCHSAE_DEVICE float fma(float a, float b, float c) {
  return __builtin_fmaf(a, b, c);
}
BRANCHSAE_DEVICE float divide(float a, float b) {
  return a / b;
}
BRANCHSAE_DEVICE float approximate_quotient(float a, float b) {
  return a / b;
}
BRANCHSAE_DEVICE float square_root(float a) {
  return __builtin_sqrtf(a);
}
BRANCHSAE_DEVICE double square_root(double a) {
  return __builtin_sqrt(a);
}
BRANCHSAE_DEVICE double fma(double a, double b, double c) {
  return __builtin_fma(a, b, c);
}

BRANCHSAE_DEVICE float exponential(float a) {
  return std::exp(a);
}
BRANCHSAE_DEVICE float power(float base, float exponent) {
  return std::pow(base, exponent);
}

BRANCHSAE_DEVICE bool is_finite(float value) {
  return (as_uint(value) & 0x7f800000U) != 0x7f800000U;
}
BRANCHSAE_DEVICE bool is_nan(float value) {
  return (as_uint(value) & 0x7fffffffU) > 0x7f800000U;
}

BRANCHSAE_DEVICE int count_bits(uint32_t mask) {
  return std::popcount(mask);
}
BRANCHSAE_DEVICE int lowest_bit(uint32_t mask) {
  return mask == 0 ? -1 : std::countr_zero(mask);
}
BRANCHSAE_DEVICE int leading_zeros(uint32_t mask) {
  return std::countl_zero(mask);
}

template <class T>
BRANCHSAE_DEVICE T load_read_only(const T* from, emulator::Place place = emulator::Place::current()) {
  emulator::check_global(from, sizeof(T), place);
  return *from;
}

}  // namespace branchsae::cuda
