#include "model/sae_metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "model/json.h"

namespace branchsae {
namespace {

constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();

double ratio(double part, double whole) {
  return whole > 0 ? part / whole : kUndefined;
}

/// sum (x_c - mean x_c)^2. Cancellation may leave a tiny negative number where a channel is constant.
double channel_variance(const SaeEvalSums& sums, size_t channel) {
  const double sum = sums.channel_sum[channel];
  const double squares = sums.channel_squared_sum[channel];
  const double variance = squares - sum * sum / static_cast<double>(sums.tokens);
  // What is left of two equal numbers after rounding is no variance.
  return variance > squares * 1e-13 ? variance : 0.0;
}

void measure_channels(const SaeEvalSums& sums, SaeMetrics& metrics) {
  double total = 0, explained = 0;
  int64_t varying = 0;
  for (size_t c = 0; c < sums.channel_sum.size(); ++c) {
    const double variance = channel_variance(sums, c);
    total += variance;
    if (variance <= 0) continue;
    explained += 1.0 - sums.channel_squared_error[c] / variance;
    ++varying;
  }
  metrics.fvu = ratio(sums.squared_error, total);
  metrics.explained_variance = 1.0 - metrics.fvu;
  metrics.explained_variance_by_channel = ratio(explained, static_cast<double>(varying));
}

void measure_latents(const SaeEvalSums& sums, int64_t n, SaeMetrics& metrics) {
  const auto tokens = static_cast<double>(sums.tokens);
  metrics.density.resize(static_cast<size_t>(n), 0.0);
  for (size_t i = 0; i < sums.fired.size(); ++i) {
    metrics.density[i] = static_cast<double>(sums.fired[i]) / tokens;
    if (sums.fired[i] == 0) ++metrics.dead_latents;
  }
  metrics.dead = static_cast<double>(metrics.dead_latents) / static_cast<double>(n);
  std::vector<double> sorted = metrics.density;
  std::ranges::sort(sorted);
  for (size_t i = 0; i < kDensityQuantiles.size(); ++i) {
    metrics.density_quantiles[i] = quantile(sorted, kDensityQuantiles[i]);
  }
}

}  // namespace

double quantile(const std::vector<double>& sorted, double q) {
  const double place = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(std::floor(place));
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

SaeMetrics metrics_from_sums(const SaeEvalSums& sums, int64_t n) {
  SaeMetrics metrics;
  metrics.tokens = sums.tokens;
  if (sums.tokens == 0) {
    metrics.mse = metrics.fvu = metrics.explained_variance = metrics.explained_variance_by_channel =
        kUndefined;
    metrics.cosine = metrics.l0 = metrics.dead = metrics.mean_square = kUndefined;
    metrics.density_quantiles.fill(kUndefined);
    return metrics;
  }
  if (static_cast<int64_t>(sums.fired.size()) != n) {
    throw ShapeError(fmt::format("evaluation sums of {} latents, autoencoder of {}", sums.fired.size(), n));
  }
  const auto tokens = static_cast<double>(sums.tokens);
  metrics.mse = sums.squared_error / (tokens * static_cast<double>(sums.channel_sum.size()));
  metrics.cosine = sums.cosine / tokens;
  metrics.l0 = sums.active / tokens;
  metrics.mean_square = sums.squared_norm / tokens;
  for (double sum : sums.channel_sum) metrics.mean.push_back(sum / tokens);
  measure_channels(sums, metrics);
  measure_latents(sums, n, metrics);
  return metrics;
}

std::string to_json(const SaeMetrics& metrics) {
  return model::metrics_json(metrics).dump();
}

namespace model {

Json metrics_json(const SaeMetrics& metrics) {
  Json quantiles = Json::object();
  for (size_t i = 0; i < kDensityQuantiles.size(); ++i) {
    quantiles[fmt::format("{}", kDensityQuantiles[i])] = metrics.density_quantiles[i];
  }
  return {{"tokens", metrics.tokens},
          {"mse", metrics.mse},
          {"fvu", metrics.fvu},
          {"explained_variance", metrics.explained_variance},
          {"explained_variance_by_channel", metrics.explained_variance_by_channel},
          {"cosine", metrics.cosine},
          {"l0", metrics.l0},
          {"dead", metrics.dead},
          {"dead_latents", metrics.dead_latents},
          {"mean_square", metrics.mean_square},
          {"density_quantiles", quantiles}};
}

}  // namespace model
}  // namespace branchsae
