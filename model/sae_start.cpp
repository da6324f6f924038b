#include "model/sae_start.h"

#include <fmt/format.h>

#include <cmath>

#include "engine/error.h"
#include "engine/random.h"
#include "model/geometric_median.h"

namespace branchsae {
namespace {

std::vector<double> mean_token(View<const float, 2> tokens) {
  std::vector<double> mean(static_cast<size_t>(tokens.shape[1]), 0.0);
  for (int64_t t = 0; t < tokens.shape[0]; ++t) {
    for (size_t c = 0; c < mean.size(); ++c) mean[c] += tokens.row(t)[c];
  }
  for (double& value : mean) value /= static_cast<double>(tokens.shape[0]);
  return mean;
}

/// One direction; drawn again in the (practically impossible) case that it has no length.
void random_direction(Random& random, float* row, int64_t d) {
  std::vector<double> draw(static_cast<size_t>(d));
  double squared = 0;
  while (squared == 0) {
    for (double& value : draw) {
      value = random.normal();
      squared += value * value;
    }
  }
  const double length = std::sqrt(squared);
  for (int64_t c = 0; c < d; ++c) row[c] = static_cast<float>(draw[static_cast<size_t>(c)] / length);
}

}  // namespace

double start_scale(View<const float, 2> tokens) {
  double squares = 0;
  for (int64_t t = 0; t < tokens.shape[0]; ++t) {
    for (int64_t c = 0; c < tokens.shape[1]; ++c) {
      const double value = tokens.row(t)[c];
      if (!std::isfinite(value)) {
        throw NumericError(fmt::format("the activations hold {} (token {}, channel {})", value, t, c));
      }
      squares += value * value;
    }
  }
  if (squares == 0) return 1;
  const double scale = std::sqrt(static_cast<double>(tokens.size()) / squares);
  // Stored as float32: a scale that overflows there, or vanishes, cannot be used.
  if (!std::isnormal(static_cast<float>(scale))) {
    throw NumericError(fmt::format("the activations' mean square is {}: outside what float32 can scale",
                                   squares / static_cast<double>(tokens.size())));
  }
  return static_cast<float>(scale);
}

HostTensor start_centre(View<const float, 2> tokens, double scale, CentreStart kind) {
  const std::vector<double> point =
      kind == CentreStart::kMean ? mean_token(tokens) : geometric_median(tokens);
  HostTensor centre({tokens.shape[1]});
  for (size_t c = 0; c < point.size(); ++c)
    centre[static_cast<int64_t>(c)] = static_cast<float>(scale * point[c]);
  return centre;
}

HostTensor random_directions(int64_t n, int64_t d, uint64_t seed, uint64_t stream) {
  HostTensor rows({n, d});
  Random random(seed, stream);
  for (int64_t i = 0; i < n; ++i) random_direction(random, rows.matrix().row(i), d);
  return rows;
}

SaeParameters start_parameters(const HostTensor& directions, double norm, const HostTensor& centre,
                               double scale, bool tied) {
  SaeParameters parameters;
  parameters.w = directions.clone();
  for (float& value : parameters.w.values()) value = static_cast<float>(value * norm);
  if (!tied) parameters.w_dec = parameters.w.clone();
  parameters.b_enc = HostTensor({directions.dim(0)});
  parameters.b_pre = centre.clone();
  parameters.scale = static_cast<float>(scale);
  return parameters;
}

}  // namespace branchsae
