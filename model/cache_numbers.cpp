#include "model/cache_numbers.h"

#include <bit>
#include <cstring>

#include "engine/error.h"

namespace branchsae {

std::string to_string(CachePrecision precision) {
  return precision == CachePrecision::kF32 ? "fp32" : "bf16";
}

CachePrecision parse_cache_precision(std::string_view text) {
  if (text == "fp32") return CachePrecision::kF32;
  if (text == "bf16") return CachePrecision::kBf16;
  throw InputError("--cache-precision must be fp32 or bf16, not '" + std::string(text) + "'");
}

namespace model {
namespace {

/// The upper half of the float nearest to `value` whose lower half is zero.
uint16_t to_bf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const bool nan = (bits & 0x7fffffffU) > 0x7f800000U;
  const uint32_t nearest = bits + 0x7fffU + ((bits >> 16) & 1U);
  return static_cast<uint16_t>((nan ? bits | 0x00400000U : nearest) >>
                               16);  // a NaN's payload must not vanish
}

float from_bf16(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

}  // namespace

int64_t element_bytes(CachePrecision precision) {
  return precision == CachePrecision::kF32 ? 4 : 2;
}

float rounded(float value, CachePrecision precision) {
  return precision == CachePrecision::kF32 ? value : from_bf16(to_bf16(value));
}

void pack_tokens(const float* tokens, int64_t count, CachePrecision precision, void* record) {
  if (precision == CachePrecision::kF32) {
    std::memcpy(record, tokens, static_cast<size_t>(count) * sizeof(float));
    return;
  }
  auto* packed = static_cast<uint16_t*>(record);
  for (int64_t i = 0; i < count; ++i) packed[i] = to_bf16(tokens[i]);
}

void unpack_tokens(const void* record, int64_t count, CachePrecision precision, float* tokens) {
  if (precision == CachePrecision::kF32) {
    std::memcpy(tokens, record, static_cast<size_t>(count) * sizeof(float));
    return;
  }
  const auto* packed = static_cast<const uint16_t*>(record);
  for (int64_t i = 0; i < count; ++i) tokens[i] = from_bf16(packed[i]);
}

}  // namespace model
}  // namespace branchsae
