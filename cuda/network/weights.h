#pragma once
/// Constants of the network on their way to the device: packed on the host, uploaded at once.
#include <cstddef>
#include <span>
#include <vector>

#include "cuda/network/element.h"

namespace branchsae::cuda {

class WeightStore {
 public:
  /// Rounds to `element` (nearest, ties to even); returns the offset in bytes of the first number.
  int64_t add(std::span<const float> values, Element element);
  int64_t add_bytes(const void* data, int64_t size_bytes);

  const std::vector<std::byte>& bytes() const { return bytes_; }
  int64_t size_bytes() const { return static_cast<int64_t>(bytes_.size()); }

 private:
  std::vector<std::byte> bytes_;
};

/// As stored: nearest, ties to even; NaN stays NaN, beyond the largest number infinity.
uint16_t round_to_bf16(float value);
uint16_t round_to_half(float value);

}  // namespace branchsae::cuda
