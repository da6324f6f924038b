#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "analysis/statistics/counts.h"
#include "analysis/statistics/false_discovery.h"
#include "analysis/statistics/information.h"
#include "analysis/statistics/permutation.h"
#include "analysis/statistics/ranks.h"
#include "engine/error.h"
#include "engine/random.h"
#include "tests/analysis/uniformity.h"

using namespace branchsae;
using nlohmann::json;

namespace {

/// tests/golden/statistics.json, written by scripts/make_statistics_golden.py from SciPy.
const json& golden() {
  static const json file = json::parse(std::ifstream("tests/golden/statistics.json"));
  return file;
}

/// Relative: a p of 1e-30 has to be right as well.
void check_close(double ours, double theirs) {
  CHECK(std::abs(ours - theirs) <= 1e-10 * std::abs(theirs) + 1e-300);
}

FourFold four_fold(const json& table) {
  return {table[0][0], table[0][1], table[1][0], table[1][1]};
}

std::vector<uint8_t> labels_of(const json& labels) {
  return labels.get<std::vector<uint8_t>>();
}

}  // namespace

TEST_CASE("statistics: AUROC and point-biserial r equal SciPy's, ties included") {
  for (const json& c : golden()["ranks"]) {
    const auto scores = c["scores"].get<std::vector<double>>();
    const RankComparison result = compare_ranks(scores, labels_of(c["labels"]));
    check_close(result.auroc, c["auroc"]);
    check_close(result.p, c["p"]);
    check_close(point_biserial(scores, labels_of(c["labels"])), c["point_biserial"]);
  }
}

TEST_CASE("statistics: AUROC and its variance are those of counting pairs and ties, wherever the ties lie") {
  // Values of few kinds, so that ties lie at the bottom, at the top and between; bottoms of every height.
  for (const double bottom : {-3.0, 0.0, -0.0, 5.0}) {
    for (uint64_t seed = 0; seed < 20; ++seed) {
      Random random(seed, 0);
      std::vector<double> scores;
      std::vector<uint8_t> labels;
      for (int i = 0; i < 60; ++i) {
        scores.push_back(std::max(bottom, static_cast<double>(random.below(9)) - 4));
        labels.push_back(static_cast<uint8_t>(random.below(3) == 0));
      }
      double wins = 0, pairs = 0, ties = 0;
      for (size_t i = 0; i < scores.size(); ++i) {
        double equal = 0;
        for (size_t j = 0; j < scores.size(); ++j) {
          equal += scores[i] == scores[j] ? 1 : 0;
          if (labels[i] == 0 || labels[j] != 0) continue;
          wins += scores[i] > scores[j] ? 1 : scores[i] == scores[j] ? 0.5 : 0;
          ++pairs;
        }
        ties += equal * equal - 1;  // a tie of t has t of these, t^3 - t together
      }
      const RankComparison result = compare_ranks(scores, labels);
      CHECK(result.labelled * result.others == static_cast<int64_t>(pairs));
      CHECK(result.auroc == wins / pairs);
      const double variance = pairs / 12 * (61 - ties / (60 * 59));
      if (variance > 0)
        CHECK(result.z == doctest::Approx((wins - pairs / 2) / std::sqrt(variance)).epsilon(1e-12));
      if (variance <= 0) CHECK(result.p == 1);
    }
  }
}

TEST_CASE("statistics: Spearman's rho equals SciPy's, ties included") {
  for (const json& c : golden()["spearman"]) {
    const Correlation result = spearman(c["x"].get<std::vector<double>>(), c["y"].get<std::vector<double>>());
    check_close(result.r, c["rho"]);
    check_close(result.p, c["p"]);
  }
}

TEST_CASE("statistics: hypergeometric tails equal SciPy's") {
  for (const json& c : golden()["hypergeometric"]) {
    const Tail tail = hypergeometric_tail(c["hits"], c["draws"], c["marked"], c["population"]);
    check_close(tail.p, c["p"]);
    if (tail.p > 0) check_close(std::exp(tail.log_p), c["p"]);
  }
}

TEST_CASE("statistics: Distill's two counts of branch specialisation") {
  // Voss et al. 2021: 9 of 9 features in a branch of 32 of 256 channels, 30 of 30 in one of 96 of 480.
  CHECK(hypergeometric_tail(9, 9, 32, 256).p == doctest::Approx(2.485e-9).epsilon(5e-4));
  CHECK(hypergeometric_tail(30, 30, 96, 480).p == doctest::Approx(1.679e-23).epsilon(5e-4));
}

TEST_CASE("statistics: a tail too small for a double keeps its logarithm") {
  const Tail tail = hypergeometric_tail(2000, 2000, 4000, 20000);
  CHECK(tail.p == 0);
  // All 2,000 draws hit: ln of the product of (4000 - i) / (20000 - i).
  double expected = 0;
  for (int i = 0; i < 2000; ++i) expected += std::log((4000.0 - i) / (20000.0 - i));
  check_close(tail.log_p, expected);
}

TEST_CASE("statistics: Fisher's exact test equals SciPy's") {
  for (const json& c : golden()["fisher"]) {
    const FisherExact result = fisher_exact(four_fold(c["table"]));
    check_close(result.two_sided, c["p"]["two-sided"]);
    check_close(result.greater.p, c["p"]["greater"]);
    check_close(result.less, c["p"]["less"]);
  }
}

TEST_CASE("statistics: chi-square, Cramer's V and kappa equal SciPy's") {
  for (const json& c : golden()["chi_square"]) {
    const ChiSquare result = chi_square(c["table"].get<CountTable>());
    check_close(result.statistic, c["statistic"]);
    check_close(result.p, c["p"]);
    check_close(result.cramers_v, c["cramers_v"]);
    CHECK(result.degrees == c["degrees"].get<int64_t>());
  }
  for (const json& c : golden()["kappa"]) check_close(cohen_kappa(c["table"].get<CountTable>()), c["kappa"]);
}

TEST_CASE("statistics: Benjamini and Hochberg's q equal SciPy's") {
  for (const json& c : golden()["false_discovery"]) {
    const std::vector<double> q = benjamini_hochberg(c["p"].get<std::vector<double>>());
    for (size_t i = 0; i < q.size(); ++i) check_close(q[i], c["q"][i]);
  }
  const std::vector<double> with_gap = benjamini_hochberg(std::vector<double>{0.01, std::nan(""), 0.04});
  CHECK(with_gap[0] == doctest::Approx(0.02));
  CHECK(std::isnan(with_gap[1]));
  CHECK(with_gap[2] == doctest::Approx(0.04));
}

TEST_CASE("statistics: odds ratio with half a count added, and its interval") {
  // (10.5 * 40.5) / (5.5 * 20.5) = 3.7716; standard error of the logarithm 0.5943.
  const OddsRatio ratio = odds_ratio({10, 5, 20, 40});
  const double error = std::sqrt(1 / 10.5 + 1 / 5.5 + 1 / 20.5 + 1 / 40.5);
  CHECK(ratio.value == doctest::Approx(10.5 * 40.5 / (5.5 * 20.5)));
  CHECK(std::log(ratio.high / ratio.low) == doctest::Approx(2 * 1.959964 * error));
  CHECK(odds_ratio({0, 0, 0, 0}).value == 1);
}

TEST_CASE("statistics: entropy and mutual information of known tables") {
  CHECK(entropy_bits(std::vector<double>{1, 1, 1, 1}) == doctest::Approx(2));
  CHECK(entropy_bits(std::vector<double>{3, 0, 0}) == 0);
  // Full dependence of two balanced halves: 1 bit, and Miller's terms (1 + 1 - 1) / (2 * 100) nats.
  CHECK(mutual_information_bits({{50, 0}, {0, 50}}) == doctest::Approx(1 + 1 / (200 * std::log(2.0))));
  CHECK(mutual_information_bits({{25, 25}, {25, 25}}) == doctest::Approx(-1 / (200 * std::log(2.0))));
}

TEST_CASE("statistics: what is undefined says so") {
  const std::vector<double> flat{2, 2, 2}, rising{1, 2, 3};
  CHECK(std::isnan(spearman(flat, rising).r));
  CHECK(std::isnan(chi_square({{3, 4}, {0, 0}}).p));
  CHECK(std::isnan(cohen_kappa({{5, 0}, {0, 0}})));
  CHECK(compare_ranks(flat, std::vector<uint8_t>{1, 0, 1}).p == 1);
  CHECK(compare_ranks(rising, std::vector<uint8_t>{0, 0, 0}).auroc == 0.5);
  CHECK_THROWS_AS(compare_ranks(rising, std::vector<uint8_t>{1}), ShapeError);
  CHECK_THROWS_AS(compare_ranks(std::vector<double>{1, std::nan("")}, std::vector<uint8_t>{0, 1}),
                  InputError);
  CHECK(compare_ranks({}, {}).auroc == 0.5);
  CHECK_THROWS_AS(mid_ranks(std::vector<double>{1, std::nan("")}), InputError);
  CHECK_THROWS_AS(hypergeometric_tail(1, 5, 2, 4), InputError);
  CHECK_THROWS_AS(benjamini_hochberg(std::vector<double>{1.5}), InputError);
  CHECK_THROWS_AS(chi_square({{1, 2}, {3}}), InputError);
  CHECK_THROWS_AS(cohen_kappa({{1, 2}}), ShapeError);
}

TEST_CASE("statistics: permutations stay within their strata and are seeded") {
  const std::vector<double> key{5, 1, 4, 2, 3, 0};
  const Strata strata = Strata::by_quantile(key, 3);
  std::vector<std::vector<int64_t>> seen;
  const auto record = [&](std::span<const int64_t> order) {
    seen.emplace_back(order.begin(), order.end());
    return 0.0;
  };
  permutation_test(strata, 50, 7, record);
  bool moved = false;
  for (const auto& order : seen) {
    for (size_t i = 0; i < order.size(); ++i) {
      const auto from = static_cast<size_t>(order[i]);
      CHECK(std::floor(key[from] / 2) == std::floor(key[i] / 2));
      moved = moved || from != i;
    }
  }
  CHECK(moved);
  const auto first = seen;
  seen.clear();
  permutation_test(strata, 50, 7, record);
  CHECK(seen == first);
}

TEST_CASE("statistics: a permutation test finds a planted link, and without one p is uniform") {
  constexpr int kUnits = 60, kRuns = 200, kRounds = 199;
  std::vector<double> p;
  for (int run = 0; run < kRuns; ++run) {
    Random random(11, static_cast<uint64_t>(run));
    std::vector<double> share(kUnits), concept_score(kUnits), density(kUnits);
    for (int i = 0; i < kUnits; ++i) {
      share[i] = random.uniform();
      concept_score[i] = random.normal();
      density[i] = random.uniform();
    }
    const auto product = [&](std::span<const int64_t> order) {
      double sum = 0;
      for (size_t i = 0; i < order.size(); ++i)
        sum += share[static_cast<size_t>(order[i])] * concept_score[i];
      return sum;
    };
    const Strata deciles = Strata::by_quantile(density, 10);
    p.push_back(permutation_test(deciles, kRounds, static_cast<uint64_t>(run), product).p);
    if (run > 0) continue;
    for (int i = 0; i < kUnits; ++i) concept_score[i] += 4 * share[i];  // the link
    CHECK(permutation_test(deciles, kRounds, 1, product).p == doctest::Approx(1.0 / (1 + kRounds)));
  }
  // 1.63 is exceeded in 1 % of uniform samples; seeded, so that it either always passes or never.
  CHECK(test::distance_from_uniform(p) < 1.63);
}

TEST_CASE("statistics: several statistics of the same permutations are tested as each alone") {
  const std::vector<double> key{3, 1, 2, 6, 5, 4}, values{1, 2, 3, 4, 5, 6};
  const Strata halves = Strata::by_quantile(key, 2);
  const auto first = [&](auto order) { return values[static_cast<size_t>(order[0])]; };
  const auto product = [&](auto order) {
    double sum = 0;
    for (size_t i = 0; i < values.size(); ++i) sum += values[i] * values[static_cast<size_t>(order[i])];
    return sum;
  };
  const auto both = permutation_tests(halves, 100, 3, 2, [&](auto order, std::span<double> out) {
    out[0] = first(order);
    out[1] = product(order);
  });
  REQUIRE(both.size() == 2);
  const PermutationTest alone[] = {permutation_test(halves, 100, 3, first),
                                   permutation_test(halves, 100, 3, product)};
  for (size_t i = 0; i < 2; ++i) {
    CHECK(both[i].statistic == alone[i].statistic);
    CHECK(both[i].p == alone[i].p);
    CHECK(both[i].null_mean == alone[i].null_mean);
    CHECK(both[i].null_sd == alone[i].null_sd);
  }
  CHECK(both[0].p != both[1].p);
}
