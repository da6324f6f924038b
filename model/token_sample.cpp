#include "model/token_sample.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "engine/error.h"
#include "engine/random.h"
#include "model/image_sequence.h"

namespace branchsae {

std::string to_string(TokenSampling sampling) {
  return sampling == TokenSampling::kUniform ? "uniform" : "norm";
}

TokenSampling parse_token_sampling(std::string_view text) {
  if (text == "uniform") return TokenSampling::kUniform;
  if (text == "norm") return TokenSampling::kNorm;
  throw InputError("--sample must be uniform or norm, not '" + std::string(text) + "'");
}

namespace model {
namespace {

/// 24 bits of epoch beside 32 of image: a repeat after 16 million epochs does no harm.
Random draws_of(RandomUse use, uint64_t seed, int64_t epoch, int64_t image) {
  return {seed, random_stream(use, static_cast<uint64_t>(epoch) << 32 | static_cast<uint64_t>(image))};
}

/// A position's place in the draw: larger keys first.
struct Key {
  bool weighted = false;  ///< of a norm above 0
  double value = 0;       ///< log(u) / w, or u where w is 0
  int32_t position = 0;

  bool before(const Key& other) const {
    if (weighted != other.weighted) return weighted;
    return value != other.value ? value > other.value : position < other.position;
  }
};

Key key_of(double norm, double u, int32_t position) {
  if (!std::isfinite(norm)) return {true, std::numeric_limits<double>::infinity(), position};
  if (norm > 0) return {true, std::log(u) / norm, position};
  return {false, u, position};
}

}  // namespace

std::vector<int32_t> sample_positions(int64_t count, int64_t total, uint64_t seed, int64_t epoch,
                                      int64_t image) {
  std::vector<int32_t> positions(static_cast<size_t>(total));
  std::iota(positions.begin(), positions.end(), 0);
  Random random = draws_of(RandomUse::kPositions, seed, epoch, image);
  for (int64_t i = 0; i < count; ++i) {
    const auto drawn = static_cast<size_t>(i) + random.below(static_cast<uint64_t>(total - i));
    std::swap(positions[static_cast<size_t>(i)], positions[drawn]);
  }
  positions.resize(static_cast<size_t>(count));
  std::ranges::sort(positions);
  return positions;
}

std::vector<int32_t> sample_by_norm(int64_t count, std::span<const float> norms, uint64_t seed, int64_t epoch,
                                    int64_t image) {
  Random random = draws_of(RandomUse::kNormPositions, seed, epoch, image);
  std::vector<Key> keys;
  keys.reserve(norms.size());
  for (const float norm : norms) {
    keys.push_back(
        key_of(static_cast<double>(norm), 1 - random.uniform(), static_cast<int32_t>(keys.size())));
  }
  std::ranges::nth_element(keys, keys.begin() + count,
                           [](const Key& a, const Key& b) { return a.before(b); });
  std::vector<int32_t> positions;
  for (int64_t i = 0; i < count; ++i) positions.push_back(keys[static_cast<size_t>(i)].position);
  std::ranges::sort(positions);
  return positions;
}

void token_norms(View<const float, 2> tokens, float* norms) {
  for (int64_t i = 0; i < tokens.shape[0]; ++i) {
    const float* token = tokens.row(i);
    double sum = 0;
    for (int64_t j = 0; j < tokens.shape[1]; ++j) {
      const auto value = static_cast<double>(token[j * tokens.stride[1]]);
      sum += value * value;
    }
    norms[i] = static_cast<float>(std::sqrt(sum));
  }
}

}  // namespace model
}  // namespace branchsae
