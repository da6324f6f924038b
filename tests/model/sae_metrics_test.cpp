#include "model/sae_metrics.h"

#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/error.h"

using namespace branchsae;

namespace {

/// Sums of explicit tokens x, reconstructions and active sets, as a backend would add them up.
SaeEvalSums sums_of(const std::vector<std::vector<double>>& x, const std::vector<std::vector<double>>& x_hat,
                    const std::vector<std::vector<int>>& active, size_t n) {
  SaeEvalSums sums;
  const size_t d = x[0].size();
  for (auto* values : {&sums.channel_sum, &sums.channel_squared_sum, &sums.channel_squared_error})
    values->assign(d, 0);
  sums.fired.assign(n, 0);
  for (size_t t = 0; t < x.size(); ++t) {
    double dot = 0, norm = 0, norm_hat = 0;
    for (size_t c = 0; c < d; ++c) {
      const double error = x[t][c] - x_hat[t][c];
      sums.squared_error += error * error;
      sums.channel_squared_error[c] += error * error;
      sums.channel_sum[c] += x[t][c];
      sums.channel_squared_sum[c] += x[t][c] * x[t][c];
      dot += x[t][c] * x_hat[t][c];
      norm += x[t][c] * x[t][c];
      norm_hat += x_hat[t][c] * x_hat[t][c];
    }
    sums.squared_norm += norm;
    if (norm > 0 && norm_hat > 0) sums.cosine += dot / std::sqrt(norm * norm_hat);
    sums.active += static_cast<double>(active[t].size());
    for (int latent : active[t]) ++sums.fired[static_cast<size_t>(latent)];
    ++sums.tokens;
  }
  return sums;
}

// Sums of a handful of small numbers in double.
doctest::Approx near(double value) {
  return doctest::Approx(value).epsilon(1e-12);
}

}  // namespace

TEST_CASE("figures of four tokens worked out by hand") {
  // Channel means 2.5 and 1; variances 5 and 4. Errors 1 in channel 0 at token 0, 2 in channel 1 at token 3.
  const SaeEvalSums sums =
      sums_of({{1, 0}, {2, 0}, {3, 2}, {4, 2}}, {{2, 0}, {2, 0}, {3, 2}, {4, 0}}, {{0}, {0, 1}, {}, {0}}, 4);
  const SaeMetrics metrics = metrics_from_sums(sums, 4);
  CHECK(metrics.tokens == 4);
  CHECK(metrics.mse == near(5.0 / 8));
  CHECK(metrics.fvu == near(5.0 / 9));
  CHECK(metrics.explained_variance == near(4.0 / 9));
  CHECK(metrics.explained_variance_by_channel == near(((1 - 1.0 / 5) + (1 - 4.0 / 4)) / 2));
  CHECK(metrics.cosine == near((3 + 16 / std::sqrt(20.0 * 16)) / 4));
  CHECK(metrics.l0 == near(1));
  CHECK(metrics.dead == near(0.5));
  CHECK(metrics.dead_latents == 2);
  CHECK(metrics.mean_square == near((1 + 4 + 13 + 20) / 4.0));
  CHECK(metrics.mean == std::vector<double>{2.5, 1});
  CHECK(metrics.density == std::vector<double>{0.75, 0.25, 0, 0});
  CHECK(metrics.density_quantiles[4] == near(0.125));  // the median of 0, 0, 0.25, 0.75
  CHECK(metrics.density_quantiles.front() == 0);
  CHECK(metrics.density_quantiles.back() == near(0.75));
}

TEST_CASE("fvu is 0 for a perfect reconstruction and 1 for the mean") {
  const std::vector<std::vector<double>> x{{1, 5}, {3, 9}, {5, 1}};
  CHECK(metrics_from_sums(sums_of(x, x, {{}, {}, {}}, 1), 1).fvu == 0);
  const std::vector<std::vector<double>> mean(3, {3, 5});
  CHECK(metrics_from_sums(sums_of(x, mean, {{}, {}, {}}, 1), 1).fvu == near(1));
}

TEST_CASE("what is undefined is NaN, and null in JSON") {
  const SaeMetrics constant =
      metrics_from_sums(sums_of({{0.1, 0.3}, {0.1, 0.3}}, {{0, 0}, {0, 0}}, {{}, {}}, 2), 2);
  CHECK(std::isnan(constant.fvu));
  CHECK(std::isnan(constant.explained_variance_by_channel));
  CHECK(constant.mse == near(0.05));
  CHECK(nlohmann::json::parse(to_json(constant)).at("fvu").is_null());
  const SaeMetrics none = metrics_from_sums(SaeEvalSums{}, 3);
  CHECK(std::isnan(none.mse));
  CHECK(std::isnan(none.l0));
}

TEST_CASE("a large offset does not drown a small variance") {
  // Mean 1000, deviations of 1: the variance must come out right to the 1e-9 that double leaves after the
  // subtraction.
  const SaeEvalSums sums = sums_of({{1001}, {999}}, {{1000}, {1000}}, {{}, {}}, 1);
  CHECK(metrics_from_sums(sums, 1).fvu == doctest::Approx(1).epsilon(1e-9));
}

TEST_CASE("quantiles interpolate between order statistics") {
  const std::vector<double> values{1, 2, 4, 8};
  CHECK(quantile(values, 0) == 1);
  CHECK(quantile(values, 1) == 8);
  CHECK(quantile(values, 0.5) == near(3));
  CHECK(quantile(values, 0.25) == near(1.75));
  CHECK(quantile({7}, 0.3) == 7);
}

TEST_CASE("sums of another width are refused") {
  CHECK_THROWS_AS(metrics_from_sums(sums_of({{1}}, {{1}}, {{}}, 2), 3), ShapeError);
}
