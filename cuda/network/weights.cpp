#include "cuda/network/weights.h"

#include <bit>
#include <cmath>
#include <cstring>

namespace branchsae::cuda {
namespace {

constexpr size_t kAlignment = 256;

}  // namespace

uint16_t round_to_bf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) return 0x7fff;
  return static_cast<uint16_t>((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16);
}

uint16_t round_to_half(float value) {
  if (std::isnan(value)) return 0x7fff;
  const auto sign = static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16 & 0x8000U);
  const float magnitude = std::fabs(value);
  if (magnitude >= 65520.0F) return sign | 0x7c00U;
  if (magnitude < 0x1p-14F) {  // subnormal: a multiple of 2^-24
    return sign | static_cast<uint16_t>(std::nearbyint(magnitude * 0x1p24F));
  }
  const auto bits = std::bit_cast<uint32_t>(magnitude);
  const uint32_t rounded = bits + 0xfffU + (bits >> 13 & 1U);
  return sign | static_cast<uint16_t>((rounded - 0x38000000U) >> 13);
}

int64_t WeightStore::add_bytes(const void* data, int64_t size_bytes) {
  const size_t at = (bytes_.size() + kAlignment - 1) / kAlignment * kAlignment;
  bytes_.resize(at + static_cast<size_t>(size_bytes));
  std::memcpy(bytes_.data() + at, data, static_cast<size_t>(size_bytes));
  return static_cast<int64_t>(at);
}

int64_t WeightStore::add(std::span<const float> values, Element element) {
  if (element == Element::kF32) return add_bytes(values.data(), static_cast<int64_t>(values.size_bytes()));
  std::vector<uint16_t> rounded(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    rounded[i] = element == Element::kBf16 ? round_to_bf16(values[i]) : round_to_half(values[i]);
  }
  return add_bytes(rounded.data(), static_cast<int64_t>(rounded.size() * sizeof(uint16_t)));
}

}  // namespace branchsae::cuda
