// What the tests of branch specialisation are made of: many permutation statistics at once, intervals,
// clusters, concepts of units, the compared branches.
#include "analysis/branches/specialisation.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "analysis/branches/contribution_plot.h"
#include "analysis/branches/decoder_clusters.h"
#include "analysis/branches/random_dictionary.h"
#include "analysis/branches/report_files.h"
#include "analysis/statistics/intervals.h"
#include "analysis/statistics/permuted_sums.h"
#include "analysis/statistics/ranks.h"
#include "engine/error.h"
#include "engine/random.h"
#include "tests/analysis/small_network.h"

using namespace branchsae;

namespace {

std::vector<double> uniform(size_t count, uint64_t stream) {
  Random random(9, stream);
  std::vector<double> values(count);
  for (double& value : values) value = random.uniform();
  return values;
}

/// Half wins count for ties: the definition, pair by pair.
double wins(double a, double b) {
  return a > b ? 1 : (a == b ? 0.5 : 0);
}

}  // namespace

TEST_CASE("permuted sums: each test is that of permutation_test, for any number of threads") {
  const size_t n = 60;
  const std::vector<double> key = uniform(n, 0), weight = uniform(n, 1), profile = uniform(2 * n, 2);
  const Strata strata = Strata::by_quantile(key, 4);
  std::vector<double> sparse(n);
  sparse[3] = sparse[40] = 1;
  const std::vector<PermutedWeight> weights{{weight, 0, 2}, {sparse, 1, 2}};
  const View<const double, 2> rows(profile.data(), {60, 2});
  const PermutedSums one(strata, rows, weights, 300, 5, 1), three(strata, rows, weights, 300, 5, 3);
  for (int64_t round = 0; round <= 300; ++round) {
    CHECK(one.at(round, 0, 1) == three.at(round, 0, 1));
    CHECK(one.at(round, 1, 0) == three.at(round, 1, 0));
  }
  const PermutationTest expected = permutation_test(strata, 300, 5, [&](std::span<const int64_t> order) {
    double sum = 0;
    for (size_t i = 0; i < n; ++i) sum += weight[i] * profile[2 * static_cast<size_t>(order[i]) + 1];
    return sum;
  });
  const PermutationTest ours = one.test([&](int64_t round) { return one.at(round, 0, 1); });
  CHECK(ours.statistic == expected.statistic);
  CHECK(ours.p == expected.p);
  CHECK(ours.null_sd == doctest::Approx(expected.null_sd));
  CHECK(one.at(0, 1, 0) == profile[7] + profile[81]);

  CHECK_THROWS_AS(PermutedSums(strata, rows, weights, 0, 5, 1), InputError);
  CHECK_THROWS_AS(PermutedSums(strata, rows.rows(0, 59), weights, 1, 5, 1), ShapeError);
  CHECK_THROWS_AS(PermutedSums(strata, rows, std::vector<PermutedWeight>{{weight, 1, 3}}, 1, 5, 1),
                  ShapeError);
}

TEST_CASE("intervals: placements and their covariance by their definition, ties included") {
  const std::vector<double> a{1, 2, 2, 3, 5, 5, 0, 4}, b{2, 1, 4, 4, 3, 6, 6, 0};
  const std::vector<uint8_t> y{0, 1, 0, 1, 1, 0, 0, 1};
  const Placements pa = placements(a, y), pb = placements(b, y);
  size_t place = 0;
  for (size_t i = 0; i < y.size(); ++i) {
    if (y[i] == 0) continue;
    double share = 0;
    for (size_t j = 0; j < y.size(); ++j) share += y[j] == 0 ? wins(a[i], a[j]) / 4 : 0;
    CHECK(pa.labelled[place++] == doctest::Approx(share));
  }
  CHECK(pa.auroc == doctest::Approx(compare_ranks(a, y).auroc));
  double mean = 0;
  for (const double value : pa.others) mean += value / 4;
  CHECK(mean == doctest::Approx(pa.auroc));
  double labelled = 0, others = 0;
  for (size_t i = 0; i < 4; ++i) {
    labelled += (pa.labelled[i] - pa.auroc) * (pb.labelled[i] - pb.auroc) / 3;
    others += (pa.others[i] - pa.auroc) * (pb.others[i] - pb.auroc) / 3;
  }
  CHECK(auroc_covariance(pa, pb) == doctest::Approx(labelled / 4 + others / 4));
  const Placements one = placements(a, std::vector<uint8_t>{1, 0, 0, 0, 0, 0, 0, 0});
  CHECK(std::isnan(auroc_covariance(one, one)));
  CHECK_THROWS_AS(auroc_covariance(one, pa), ShapeError);
}

TEST_CASE("intervals: 95 % of samples hold the truth") {
  // AUROC of N(1, 1) against N(0, 1) is Phi(1 / sqrt 2) = 0.7602; Spearman's r of a normal pair of
  // correlation 0.5 is 6 / pi asin(0.25) = 0.4826. Of 400 samples 95 % are 380, with a deviation of 4.4: 360
  // is 4.6 below.
  int auroc_holds = 0, spearman_holds = 0;
  for (uint64_t sample = 0; sample < 400; ++sample) {
    Random random(1, sample);
    std::vector<double> scores, x, y;
    std::vector<uint8_t> labels;
    for (int i = 0; i < 120; ++i) {
      labels.push_back(i % 3 == 0 ? 1 : 0);
      scores.push_back(random.normal() + labels.back());
      x.push_back(random.normal());
      y.push_back(0.5 * x.back() + std::sqrt(0.75) * random.normal());
    }
    const Placements p = placements(scores, labels);
    const Interval auroc = normal_interval(p.auroc, std::sqrt(auroc_covariance(p, p)));
    const Interval r = spearman_interval(spearman(x, y).r, 120);
    auroc_holds += auroc.low < 0.7602 && auroc.high > 0.7602 ? 1 : 0;
    spearman_holds += r.low < 0.4826 && r.high > 0.4826 ? 1 : 0;
  }
  CHECK(auroc_holds > 360);
  CHECK(auroc_holds < 398);
  CHECK(spearman_holds > 360);
  CHECK(spearman_holds < 398);
}

TEST_CASE("intervals: information of a table that is all, and of one that is half known") {
  CHECK(mutual_information_deviation({{50, 0}, {0, 50}}) == doctest::Approx(0));  // every cell says one bit
  CHECK(std::isnan(mutual_information_deviation({{0, 0}, {0, 0}})));
  // p = 3/8, 1/8: bits log2(3/2) and log2(1/2).
  const double most = std::log2(1.5), mean = 0.75 * most - 0.25, square = 0.75 * most * most + 0.25;
  CHECK(mutual_information_deviation({{30, 10}, {10, 30}}) ==
        doctest::Approx(std::sqrt((square - mean * mean) / 80)));
  CHECK(std::isnan(spearman_interval(0.5, 3).low));
}

TEST_CASE("clusters: near copies in a chain are one, others and rows that are not wanted stand alone") {
  const double step = 0.4;  // cos 0.4 = 0.921; cos 0.8 = 0.697
  std::vector<float> decoder;
  for (const double angle : {0.0, step, 2 * step, 2.5, 0.0}) {
    decoder.push_back(static_cast<float>(3 * std::cos(angle)));
    decoder.push_back(static_cast<float>(3 * std::sin(angle)));
  }
  decoder.insert(decoder.end(), {0.0F, 0.0F});
  const View<const float, 2> rows(decoder.data(), {6, 2});
  const std::vector<uint8_t> wanted{1, 1, 1, 1, 0, 1};
  const auto cluster = decoder_clusters(rows, wanted, 0.9, 2);
  CHECK(cluster == std::vector<int32_t>{0, 0, 0, 3, -1, -1});
  const ClusterCounts counts = count_clusters(cluster);
  CHECK(counts.clusters == 1);
  CHECK(counts.members == 3);
  CHECK(counts.largest == 3);
  CHECK_THROWS_AS(decoder_clusters(rows, std::vector<uint8_t>{1}, 0.9, 1), ShapeError);
}

TEST_CASE("clusters: those across blocks of rows are found by any number of threads") {
  const int64_t n = 700, d = 8;
  Random random(4, 0);
  std::vector<float> decoder(static_cast<size_t>(n * d));
  for (float& value : decoder) value = static_cast<float>(random.normal());
  for (int64_t c = 0; c < d; ++c)
    decoder[static_cast<size_t>(650 * d + c)] = 2 * decoder[static_cast<size_t>(5 * d + c)];
  const View<const float, 2> rows(decoder.data(), {n, d});
  const std::vector<uint8_t> wanted(static_cast<size_t>(n), 1);
  const auto one = decoder_clusters(rows, wanted, 0.9999, 1), two = decoder_clusters(rows, wanted, 0.9999, 2);
  CHECK(one == two);
  CHECK(one[650] == 5);
  CHECK(count_clusters(one).clusters == 1);
}

TEST_CASE("concepts: units are chosen by what they did on images, silent ones never") {
  ImageScores scores(4, 1);
  std::vector<uint8_t> shown;
  for (int32_t image = 0; image < 40; ++image) {
    shown.push_back(image < 20 ? 1 : 0);
    const float values[2] = {1.0F + static_cast<float>(image % 7), 2};
    const int32_t indices[2] = {shown.back() != 0 ? 0 : 1, image % 2 == 0 ? 2 : -1};
    scores.add(image, {values, {1, 2}}, {indices, {1, 2}});
  }
  const Concept images{"animal", std::vector<uint8_t>(40, 1), shown, 40, 20};
  const UnitConcept units = selective_units(scores, images, 2);
  CHECK(units.positive == std::vector<uint8_t>{1, 0, 0, 0});
  CHECK(units.positives == 1);
  CHECK(units.score[0] == 1);
  CHECK(units.score[1] == 0);
  CHECK(std::isnan(units.score[3]));
  CHECK(live_units(scores) == std::vector<uint8_t>{1, 1, 1, 0});
  const UnitConcept colour = coloured_units(scores, scores, 0.5), all = coloured_units(scores, scores, 0);
  CHECK(colour.positives == 0);  // nothing is lost
  CHECK(all.positives == 3);
  CHECK_THROWS_AS(oriented_units(scores, ImageScores(3, 1), 0.5), ShapeError);
}

TEST_CASE("branches of several layers are compared by kind, or each for itself") {
  const auto branch = [](const char* layer, const char* name, int64_t begin) {
    return TapBranch{layer, name, {std::string(layer) + "." + name, begin, 2}};
  };
  const ComparedBranches kinds = compared_branches(
      {branch("a", "1x1", 0), branch("a", "5x5", 2), branch("b", "1x1", 4), branch("b", "5x5", 6)});
  CHECK(kinds.names == std::vector<std::string>{"1x1", "5x5"});
  CHECK(kinds.sums(std::vector<double>{1, 2, 4, 8}) == std::vector<double>{5, 10});
  const ComparedBranches layers = compared_branches({branch("a", "5x5", 0), branch("b", "5x5", 2)});
  CHECK(layers.names == std::vector<std::string>{"a.5x5", "b.5x5"});
}

TEST_CASE("subject: of near copies the one that fires most counts, silent units do not") {
  ImageScores scores(4, 2);
  const float values[2] = {1, 1};
  const int32_t indices[2] = {1, 1}, others[2] = {0, 2};
  scores.add(0, {values, {2, 1}}, {indices, {2, 1}});
  scores.add(1, {values, {2, 1}}, {others, {2, 1}});
  const std::vector<float> decoder{1, 0, 1, 0.1F, 0, 1, 1, 1};
  const std::vector<ChannelGroup> groups{{"1x1", 0, 1}, {"5x5", 1, 1}};
  const auto shares = latent_shares({decoder.data(), {4, 2}}, groups);
  const BranchSubject subject =
      branch_subject("latents", {{"1x1", "5x5"}, {0, 1}}, shares, std::vector<int32_t>{0, 0, 2, 3}, scores);
  CHECK(subject.units == std::vector<int64_t>{1, 2});
  CHECK(subject.density == std::vector<double>{2, 1});
  CHECK(subject.share[3] == 1);
}

TEST_CASE("tests: odds ratio, AUROC and information of a world that is known, q over each family") {
  BranchSubject subject{"latents", {"1x1", "5x5"}, {}, {}, {}};
  UnitConcept animal{"animal", "", "AUROC"}, none{"none", "", "AUROC"};
  for (int64_t i = 0; i < 40; ++i) {
    subject.units.push_back(i);
    const double share = (static_cast<double>(i) + 0.5) / 40;
    subject.share.insert(subject.share.end(), {1 - share, share});
    subject.density.push_back(static_cast<double>(i % 10));
    animal.positive.push_back(i >= 30 ? 1 : 0);
    animal.score.push_back(static_cast<double>(i));
    none.positive.push_back(0);
    none.score.push_back(1);
  }
  animal.positives = 10;
  const std::vector<UnitConcept> concepts{animal, none};
  auto tests = specialisation_tests(subject, concepts, {.rounds = 500, .threads = 2});
  adjust(tests);
  int64_t seen = 0;
  for (const SpecialisationTest& test : tests) {
    CHECK(test.concept_name == "animal");  // of the other there is nothing to test, not even a rank
    seen += test.branch == "5x5" ? 1 : 0;
    if (test.branch != "5x5") continue;
    if (test.test == "fisher") {
      CHECK(test.localised == 20);
      CHECK(test.both == 10);
      CHECK(test.value == doctest::Approx(10.5 / 10.5 * 20.5 / 0.5));
      CHECK(test.p == doctest::Approx(fisher_exact({10, 10, 0, 20}).greater.p));
      CHECK(test.correction.find("over 2 tests") != std::string::npos);
    }
    if (test.test == "auroc") CHECK(test.value == 1);
    if (test.test == "spearman") CHECK(test.value == doctest::Approx(1));
    if (test.test == "5x5 against 1x1") CHECK(test.value == 1);
    CHECK(test.p < 0.01);
    CHECK(test.q >= test.p);
  }
  CHECK(seen == 5);
  CHECK(specialisation_tests({"latents", {"5x5"}, {0, 1}, {1, 1}, {1, 1}}, concepts, {}).empty());
}

TEST_CASE("random dictionary: as many rows, norms and as often active as the autoencoder") {
  SaeFile sae = test::neurons("mixed4c", 20, 4);
  for (float& value : sae.parameters.w.values()) value *= 0.3F;
  const SaeFile random = random_dictionary(sae, 10, 3);
  CHECK(random.spec.n == 10);
  CHECK(random.spec.k == 2);
  CHECK(random_dictionary(sae, 100, 3).spec.n == 20);
  CHECK(random_dictionary(sae, 1, 3).spec.k == 1);
  const auto row = random.parameters.w.values().subspan(20, 20);
  double squares = 0;
  for (const float value : row) squares += static_cast<double>(value) * static_cast<double>(value);
  CHECK(std::sqrt(squares) == doctest::Approx(0.3));
  CHECK(random_dictionary(sae, 10, 3).parameters.w[7] == random.parameters.w[7]);
  CHECK(random_dictionary(sae, 10, 4).parameters.w[7] != random.parameters.w[7]);
}
