#pragma once
/// What the sums of an evaluation say about an autoencoder. All in double, unscaled units.
#include <array>
#include <string>
#include <vector>

#include "engine/sae.h"

namespace branchsae {

/// Quantiles reported for densities.
inline constexpr std::array<double, 9> kDensityQuantiles{0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1};

/// Over the tokens of an evaluation. NaN where undefined (no tokens; tokens that do not vary): null in JSON.
struct SaeMetrics {
  int64_t tokens = 0;
  double mse = 0;                 ///< mean over tokens and channels of (x - x_hat)^2
  double fvu = 0;                 ///< sum |x - x_hat|^2 / sum |x - mean x|^2
  double explained_variance = 0;  ///< 1 - fvu
  /// Mean over channels that vary of 1 - sum (x_c - x_hat_c)^2 / sum (x_c - mean x_c)^2: every channel counts
  /// alike, however small.
  double explained_variance_by_channel = 0;
  double cosine = 0;         ///< mean cos(x, x_hat); a zero vector counts as 0
  double l0 = 0;             ///< mean #(z > 0)
  double dead = 0;           ///< share of latents never active
  int64_t dead_latents = 0;  ///< their number
  double mean_square = 0;    ///< mean over tokens of |x|^2
  /// Of the latents' densities (share of tokens on which a latent is active), at kDensityQuantiles;
  /// linear interpolation between order statistics.
  std::array<double, kDensityQuantiles.size()> density_quantiles{};
  std::vector<double> density;  ///< [n]
  std::vector<double> mean;     ///< [d] the mean token
};

/// `n` latents. Throws ShapeError when sums.fired has another length.
SaeMetrics metrics_from_sums(const SaeEvalSums& sums, int64_t n);

/// Linear interpolation between order statistics; `sorted` ascending, not empty, q in 0..1.
double quantile(const std::vector<double>& sorted, double q);

/// One JSON object: the fields above but `density` and `mean`; density_quantiles as {"0.5": 0.01, ...}.
std::string to_json(const SaeMetrics& metrics);

}  // namespace branchsae
