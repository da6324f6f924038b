#pragma once
/// What activations and weights of the forward pass are made of on a CUDA device.
#include <cstdint>

#include "engine/network.h"

namespace branchsae::cuda {

/// As stored. TF32 is stored as float32; only products are rounded.
enum class Element : int32_t { kF32, kF16, kBf16 };

constexpr int64_t element_bytes(Element element) {
  return element == Element::kF32 ? 4 : 2;
}

/// How a precision is stored, and whether float32 products may use TF32.
struct ComputeType {
  Element element = Element::kF32;
  bool tf32 = false;
};

/// kAuto is bf16: the fastest with tensor cores, and what autoencoders read by default on CUDA.
constexpr ComputeType compute_type(NetworkPrecision precision) {
  switch (precision) {
    case NetworkPrecision::kF32:
      return {Element::kF32, false};
    case NetworkPrecision::kTf32:
      return {Element::kF32, true};
    case NetworkPrecision::kF16:
      return {Element::kF16, false};
    case NetworkPrecision::kAuto:
    case NetworkPrecision::kBf16:
      break;
  }
  return {Element::kBf16, false};
}

}  // namespace branchsae::cuda
