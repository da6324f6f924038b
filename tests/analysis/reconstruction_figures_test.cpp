#include "analysis/splicing/reconstruction_figures.h"

#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/error.h"

using namespace branchsae;
using nlohmann::json;

namespace {

/// Rows of numbers, contiguous.
struct Rows {
  explicit Rows(const json& list) : count(std::ssize(list)), width(std::ssize(list[0])) {
    for (const json& row : list) {
      for (const json& value : row) values.push_back(value.get<float>());
    }
  }
  View<const float, 2> view() const { return {values.data(), {count, width}}; }

  int64_t count, width;
  std::vector<float> values;
};

std::vector<double> mean_of(const Rows& rows) {
  std::vector<double> mean(static_cast<size_t>(rows.width), 0.0);
  for (size_t i = 0; i < rows.values.size(); ++i)
    mean[i % mean.size()] += static_cast<double>(rows.values[i]) / static_cast<double>(rows.count);
  return mean;
}

}  // namespace

TEST_CASE("reconstruction figures are NumPy's, whatever the batches") {
  const json golden = json::parse(std::ifstream("tests/golden/reconstruction.json"));
  REQUIRE(golden["cases"].size() >= 10);
  for (const json& one : golden["cases"]) {
    const Rows x(one["x"]), x_hat(one["x_hat"]);
    for (const int64_t batch : {int64_t{1}, int64_t{7}, x.count}) {
      const std::vector<double> mean = mean_of(x);
      ReconstructionSums sums(x.width);
      for (int64_t begin = 0; begin < x.count; begin += batch) {
        const int64_t rows = std::min(batch, x.count - begin);
        sums.add(x.view().rows(begin, rows), x_hat.view().rows(begin, rows));
      }
      CHECK_THROWS_AS(sums.figures(mean), Error);
      sums.add_spread(x.view(), mean);
      const ReconstructionFigures figures = sums.figures(mean);
      CHECK(figures.tokens == x.count);
      const auto check = [&](const char* field, double ours) {
        CAPTURE(field);
        // A mean token added up in another order leaves a token that is the mean at 1e-16 of it, not at 0.
        CHECK(ours == doctest::Approx(one["figures"][field].get<double>()).epsilon(1e-10));
      };
      check("explained_variance_centred", figures.explained_variance_centred);
      check("explained_variance_by_token", figures.explained_variance_by_token);
      check("explained_variance_one_mean", figures.explained_variance_one_mean);
      check("relative_error", figures.relative_error);
      check("norm_ratio", figures.norm_ratio);
      check("reconstruction_bias", figures.reconstruction_bias);
      check("error_norm", figures.error_norm);
      check("squared_error_norm", figures.squared_error_norm);
    }
  }
}

TEST_CASE("reconstruction figures worked out by hand") {
  // Off by one everywhere: all of the variance but none of the mean.
  const Rows x(json{{1, 0}, {3, 4}}), shifted(json{{2, 1}, {4, 5}});
  const std::vector<double> mean{2, 2};
  ReconstructionSums sums(2);
  sums.add(x.view(), shifted.view());
  sums.add_spread(x.view(), mean);
  const ReconstructionFigures figures = sums.figures(mean);
  CHECK(figures.explained_variance_centred == doctest::Approx(1));
  CHECK(figures.explained_variance_by_token == doctest::Approx(1 - 2.0 / 5));
  CHECK(figures.error_norm == doctest::Approx(std::sqrt(2.0)));
  CHECK(figures.squared_error_norm == doctest::Approx(2));
  CHECK(figures.relative_error == doctest::Approx((std::sqrt(2.0) + std::sqrt(2.0) / 5) / 2));
  CHECK(figures.norm_ratio == doctest::Approx((std::sqrt(5.0) + std::sqrt(41.0) / 5) / 2));
  CHECK(figures.reconstruction_bias == doctest::Approx(46.0 / 34));
}

TEST_CASE("tokens without a divisor take no part, and what nothing defines is NaN") {
  const Rows x(json{{0, 0}, {3, 4}}), x_hat(json{{1, 1}, {3, 4}});
  const std::vector<double> mean{3, 4}, zero{0, 0};
  ReconstructionSums sums(2);
  sums.add(x.view(), x_hat.view());
  sums.add_spread(x.view(), mean);
  const ReconstructionFigures figures = sums.figures(mean);
  CHECK(figures.norm_ratio == doctest::Approx(1));
  CHECK(figures.relative_error == 0);
  CHECK(figures.explained_variance_by_token == doctest::Approx(1 - 2.0 / 25));

  const ReconstructionFigures none = ReconstructionSums(2).figures(zero);
  CHECK(none.tokens == 0);
  CHECK(std::isnan(none.explained_variance_centred));
  CHECK(std::isnan(none.reconstruction_bias));
  CHECK(std::isnan(none.error_norm));
  const Rows narrow(json{{1}, {2}});
  CHECK_THROWS_AS(sums.add(narrow.view(), narrow.view()), ShapeError);
  CHECK_THROWS_AS(sums.add(x.view(), x_hat.view().rows(0, 1)), ShapeError);
  CHECK_THROWS_AS(sums.add_spread(x.view(), mean), ShapeError);
  CHECK_THROWS_AS(sums.add_spread(narrow.view(), mean), ShapeError);
}

TEST_CASE("each figure is explained once") {
  std::set<std::string_view> fields;
  for (const ReconstructionFormula& formula : reconstruction_formulas()) {
    CHECK(fields.insert(formula.field).second);
    CHECK_FALSE(formula.formula.empty());
    CHECK_FALSE(formula.reported_by.empty());
  }
}
