#pragma once
/// Numbers of tokens on disk.
#include <cstdint>
#include <string>
#include <string_view>

namespace branchsae {

enum class CachePrecision {
  kF32,  ///< as the network gives them
  kBf16  ///< rounded to the nearest bfloat16, ties to even
};

/// "fp32", "bf16". parse throws InputError for another name.
std::string to_string(CachePrecision precision);
CachePrecision parse_cache_precision(std::string_view text);

namespace model {

int64_t element_bytes(CachePrecision precision);
/// The value that a record gives back. NaN stays NaN, infinities stay.
float rounded(float value, CachePrecision precision);
/// Floats to a record's bytes and back.
void pack_tokens(const float* tokens, int64_t count, CachePrecision precision, void* record);
void unpack_tokens(const void* record, int64_t count, CachePrecision precision, float* tokens);

}  // namespace model
}  // namespace branchsae
