#include "engine/sae.h"

#include <fmt/format.h>

#include "engine/error.h"

namespace branchsae {

std::string to_string(SaePrecision precision) {
  if (precision == SaePrecision::kTf32) return "tf32";
  return precision == SaePrecision::kBf16 ? "bf16" : "fp32";
}

SaePrecision parse_sae_precision(std::string_view text) {
  for (const SaePrecision precision : {SaePrecision::kF32, SaePrecision::kTf32, SaePrecision::kBf16}) {
    if (text == to_string(precision)) return precision;
  }
  throw InputError(fmt::format("no precision is called '{}'; give fp32, tf32 or bf16", text));
}

void check_spec(const SaeSpec& spec) {
  constexpr int64_t kMostLatents = int64_t{1} << 31;  // indices are int32
  constexpr int64_t kMostElements = int64_t{1} << 40;
  if (spec.d < 1)
    throw InputError(fmt::format("an autoencoder's width d must be at least 1, not {}", spec.d));
  if (spec.n < 1 || spec.n >= kMostLatents) {
    throw InputError(
        fmt::format("an autoencoder's latents n must be in 1..{}, not {}", kMostLatents - 1, spec.n));
  }
  if (spec.k < 1 || spec.k > spec.n) {
    throw InputError(fmt::format("k must be in 1..n = {}, not {}", spec.n, spec.k));
  }
  if (spec.d > kMostElements / spec.n) {
    throw InputError(fmt::format("an autoencoder of {} x {} weights is too large", spec.n, spec.d));
  }
  if (spec.max_batch < 1) throw InputError(fmt::format("batch must be at least 1, not {}", spec.max_batch));
  if (spec.aux_k < 0 || spec.aux_k > spec.n) {
    throw InputError(fmt::format("auxk must be in 0..n = {}, not {}", spec.n, spec.aux_k));
  }
}

}  // namespace branchsae
