#include "analysis/splicing/predictions.h"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "engine/error.h"

using namespace branchsae;

namespace {

/// Scores whose softmax is the given probabilities.
std::vector<float> scores_of(const std::vector<double>& probabilities) {
  std::vector<float> scores;
  for (double p : probabilities) scores.push_back(static_cast<float>(std::log(p) + 3));
  return scores;
}

}  // namespace

TEST_CASE("predictions: cross-entropy, divergence and ranks of hand-made probabilities") {
  const std::vector<float> clean = scores_of({0.5, 0.25, 0.125, 0.125});
  const std::vector<float> changed = scores_of({0.25, 0.5, 0.125, 0.125});
  PredictionComparison comparison;
  comparison.add(clean, changed, 0);
  comparison.add(clean, clean, 0);
  comparison.add(clean, clean, -1);
  const PredictionSums& sums = comparison.sums();
  CHECK(sums.images == 3);
  CHECK(sums.labelled == 2);
  CHECK(sums.top1 == 1);
  CHECK(sums.top5 == 2);
  CHECK(sums.same_top1 == 2);
  CHECK(sums.mean_cross_entropy() == doctest::Approx((std::log(4.0) + std::log(2.0)) / 2).epsilon(1e-6));
  // 0.5 ln 2 + 0.25 ln 0.5
  CHECK(sums.divergence == doctest::Approx(0.25 * std::log(2.0)).epsilon(1e-6));
  // ln 2 and 0 of the two labelled images: their mean, and its standard error over one degree of freedom.
  CHECK(sums.mean_added_loss() == doctest::Approx(std::log(2.0) / 2).epsilon(1e-6));
  CHECK(sums.added_loss_error() == doctest::Approx(std::log(2.0) / 2).epsilon(1e-6));
  CHECK(std::isnan(PredictionSums{}.added_loss_error()));
  REQUIRE(comparison.by_class().size() == 1);
  CHECK(comparison.by_class().at(0).images == 2);
}

TEST_CASE("predictions: ties go to the lower class, large scores do not overflow") {
  PredictionComparison comparison;
  const std::vector<float> flat(10, 1e30F);
  comparison.add(flat, flat, 0);
  comparison.add(flat, flat, 4);
  comparison.add(flat, flat, 5);
  CHECK(comparison.sums().top1 == 1);
  CHECK(comparison.sums().top5 == 2);
  CHECK(comparison.sums().mean_cross_entropy() == doctest::Approx(std::log(10.0)));
  CHECK(comparison.sums().divergence == 0);
  CHECK_THROWS_AS(comparison.add(flat, std::vector<float>(9), 0), ShapeError);
}

TEST_CASE("predictions: the loss recovered") {
  PredictionSums clean, spliced, without;
  clean.labelled = spliced.labelled = without.labelled = 1;
  clean.cross_entropy = 1;
  spliced.cross_entropy = 1.5;
  without.cross_entropy = 6;
  CHECK(loss_recovered(clean, spliced, without) == doctest::Approx(0.9));
  CHECK(loss_recovered(clean, clean, without) == 1);
  CHECK(loss_recovered(clean, without, without) == 0);
  CHECK(std::isnan(loss_recovered(clean, spliced, clean)));
  CHECK(std::isnan(loss_recovered(PredictionSums{}, spliced, without)));
}

TEST_CASE("predictions: the divergence recovered needs no labels") {
  PredictionSums spliced, without;
  spliced.images = without.images = 2;
  spliced.divergence = 1;
  without.divergence = 4;
  CHECK(divergence_recovered(spliced, without) == doctest::Approx(0.75));
  CHECK(divergence_recovered(without, without) == 0);
  CHECK(std::isnan(divergence_recovered(spliced, PredictionSums{})));
}
