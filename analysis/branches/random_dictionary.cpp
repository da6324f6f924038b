#include "analysis/branches/random_dictionary.h"

#include <algorithm>
#include <cmath>

#include "engine/random.h"

namespace branchsae {
namespace {

double norm_of(const float* row, int64_t d) {
  double squares = 0;
  for (int64_t c = 0; c < d; ++c) squares += static_cast<double>(row[c]) * static_cast<double>(row[c]);
  return std::sqrt(squares);
}

}  // namespace

SaeSpec random_dictionary_spec(const SaeSpec& spec, int64_t rows) {
  const int64_t n = std::min(rows, spec.n);
  const double share = static_cast<double>(n) / static_cast<double>(spec.n);
  const auto k = static_cast<int64_t>(std::llround(static_cast<double>(spec.k) * share));
  return {.d = spec.d, .n = n, .k = std::clamp<int64_t>(k, 1, n)};
}

SaeFile random_dictionary(const SaeFile& sae, int64_t rows, uint64_t seed) {
  SaeFile random{random_dictionary_spec(sae.spec, rows), {}, sae.tap, sae.model_sha256, sae.preprocess};
  const int64_t n = random.spec.n, d = random.spec.d;
  random.parameters.w = HostTensor({n, d});
  random.parameters.b_enc = HostTensor({n});
  random.parameters.b_pre = sae.parameters.b_pre.clone();
  random.parameters.scale = sae.parameters.scale;
  for (int64_t i = 0; i < n; ++i) {
    Random draw(seed, static_cast<uint64_t>(i));
    float* row = random.parameters.w.data() + i * d;
    for (int64_t c = 0; c < d; ++c) row[c] = static_cast<float>(draw.normal());
    const auto factor =
        static_cast<float>(norm_of(sae.parameters.w.data() + i * sae.spec.n / n * d, d) / norm_of(row, d));
    for (int64_t c = 0; c < d; ++c) row[c] *= factor;
  }
  return random;
}

}  // namespace branchsae
