// The report of one autoencoder whose every count can be made by hand.
#include "analysis/branches/report.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <map>
#include <regex>

#include "analysis/branches/contribution_plot.h"
#include "tests/analysis/small_network.h"

using namespace branchsae;

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr int64_t kImages = 3, kPositions = 2;

/// fired[i]: on how many of the six tokens unit i fires, from the first on, with this value.
ImageScores firing(const std::vector<int64_t>& fired, float value) {
  const auto units = std::ssize(fired);
  ImageScores scores(units, kPositions);
  for (int64_t image = 0; image < kImages; ++image) {
    std::vector<float> values(static_cast<size_t>(kPositions * units), value);
    std::vector<int32_t> indices;
    for (int64_t p = 0; p < kPositions; ++p) {
      for (int32_t i = 0; i < units; ++i)
        indices.push_back(image * kPositions + p < fired[static_cast<size_t>(i)] ? i : -1);
    }
    scores.add(static_cast<int32_t>(image), {values.data(), {kPositions, units}},
               {indices.data(), {kPositions, units}});
  }
  return scores;
}

SubjectScores subject(const std::vector<int64_t>& fired, float grey) {
  SubjectScores scores{firing(fired, 2)};
  scores.grey.emplace(firing(fired, grey));
  return scores;
}

SaeFile dictionary(const std::vector<float>& rows) {
  SaeFile sae;
  const auto n = std::ssize(rows) / 4;
  sae.spec = {.d = 4, .n = n, .k = 1};
  sae.parameters.w = HostTensor({n, 4}, rows);
  return sae;
}

/// 0 is a neuron of 1x1, 1 spread over 5x5, 2 half and half, 3 as 1 but silent, 4 as 0 but rarer.
SaeFile autoencoder() {
  return dictionary({1, 0, 0, 0, 0, 0, 1, 1, 1, 0, 1, 0, 0, 0, 1, 1, 3, 0, 0, 0});
}

BranchScan scan() {
  BranchScan result{.branches = {{"mixed4a", "1x1", {"1x1", 0, 2}}, {"mixed4a", "5x5", {"5x5", 2, 2}}},
                    .latents = subject({2, 6, 4, 0, 1}, 1)};
  result.neurons = std::make_shared<SubjectScores>(subject({1, 0, 3, 4}, 2));
  result.dictionary = dictionary({1, 1, 1, 0, 0, 1, 0, 1});
  result.random.emplace(subject({3, 5}, 0.5F));
  result.channel_energy = {1, 0, 2, 5};
  result.evidence = LatentBranchValues{2, {0.5, 0.5, 2, -1, 0.25, 0.75, kNaN, kNaN, 1, 0}};
  result.causal = LatentBranchValues{2, {1, 0, 0, 0.5, 0.25, 0.25, kNaN, kNaN, 1, 0.5}};
  return result;
}

}  // namespace

TEST_CASE("report: shares, counts and densities of live latents by hand") {
  const BranchReport report = branch_report(autoencoder(), scan(), nullptr,
                                            {.tests = {.rounds = 9}, .synsets = {{"animal", "n00015388"}}});
  CHECK(report.live == std::vector<uint8_t>{1, 1, 1, 0, 1});
  CHECK(report.live_latents == 4);
  CHECK(report.images == 3);
  CHECK(report.tokens == 6);
  CHECK(report.density == std::vector<double>{2.0 / 6, 1, 4.0 / 6, 0, 1.0 / 6});
  CHECK(report.neuron_share == 0.5);  // 0 and 4, which are the same one
  CHECK(report.neurons_covered == 1);
  CHECK(report.clusters.clusters == 1);  // 0 and 4; 3 is silent
  CHECK(report.clusters.members == 2);

  REQUIRE(report.summary.size() == 2);
  const BranchSummary &one = report.summary[0], &five = report.summary[1];
  CHECK(one.mean_energy == doctest::Approx(2.5 / 4));
  CHECK(five.mean_energy == doctest::Approx(1.5 / 4));
  CHECK(one.mean_positive == doctest::Approx((2 + std::sqrt(0.5)) / 4));
  CHECK(five.mean_absolute == doctest::Approx(1.5 / 4));
  CHECK(one.mean_evidence == doctest::Approx(3.75 / 4));
  CHECK(five.mean_causal == doctest::Approx(1.25 / 4));
  CHECK(one.localised == 3);  // half is enough
  CHECK(five.localised == 2);
  CHECK(one.dominant == 3);
  CHECK(five.dominant == 1);
  CHECK(one.neurons == 1);  // the other channel is never active
  CHECK(five.neurons == 2);
  CHECK(report.nulls[0].activation_energy == 1.0 / 8);
  for (size_t b = 0; b < 2; ++b) {
    int64_t above = 0;
    for (const size_t i : {0, 1, 2, 4})
      above += report.latents[i].branches[b].energy > report.nulls[b].random_energy_99 ? 1 : 0;
    CHECK(report.summary[b].above_random == above);
  }
  CHECK(report.left_out == std::vector<std::string>{"animal: the images have no labels"});
}

TEST_CASE("report: latents, neurons and random directions are tested, each with its own concepts") {
  const BranchReport report =
      branch_report(autoencoder(), scan(), nullptr, {.tests = {.rounds = 9}, .colour_limit = 0.5});
  REQUIRE(report.concepts.size() == 1);
  CHECK(report.concepts[0].positive == std::vector<uint8_t>{1, 1, 1, 0, 1});
  // All latents and all random directions lose half and more of their response in grey, no neuron does: no
  // test of counts, and none of scores, which are all alike.
  CHECK(report.tests.empty());

  BranchScan mixed = scan();
  mixed.latents.grey.emplace(firing({2, 6, 0, 0, 0}, 2));  // 0 and 1 lose nothing
  mixed.neurons->grey.emplace(firing({1, 0, 0, 4}, 2));    // the neuron 2 loses all
  mixed.random->grey.emplace(firing({3, 0}, 2));           // the second direction
  const BranchReport tested = branch_report(autoencoder(), mixed, nullptr, {.tests = {.rounds = 9}});
  CHECK(tested.concepts[0].positives == 2);
  std::map<std::string, std::pair<int64_t, int64_t>> seen;  // units and positives of the test by AUROC
  for (const SpecialisationTest& test : tested.tests) {
    if (test.test == "auroc" && test.branch == "5x5") seen[test.subject] = {test.n, test.positives};
    if (test.test == "auroc" && test.branch == "5x5" && test.subject == "neurons") CHECK(test.value == 0.75);
    CHECK(test.q >= test.p);
  }
  CHECK(seen["latents"] == std::pair<int64_t, int64_t>{3, 1});  // 4 is a copy of 0
  CHECK(seen["neurons"] == std::pair<int64_t, int64_t>{3, 1});
  CHECK(seen["random dictionary"] == std::pair<int64_t, int64_t>{2, 1});
}

TEST_CASE("report: no text of the plot is cut off, and what \"top\" means stands in it") {
  const BranchReport report = branch_report(autoencoder(), scan(), nullptr,
                                            {.tests = {.rounds = 9}, .synsets = {{"animal", "n00015388"}}});
  const std::string svg = contribution_plot("mixed4a", report);
  CHECK(svg.find("top: the highest") != std::string::npos);
  std::smatch found;
  REQUIRE(std::regex_search(svg, found, std::regex("<svg [^>]*width=\"([0-9]+)\"")));
  const double width = std::stod(found[1]);
  // A character of a sans-serif takes 0.6 of its size on average; notes are of size 11 and the widest text.
  const std::regex text("<text x=\"([0-9.]+)\" y=\"[0-9.]+\" text-anchor=\"start\" class=\"note\">([^<]*)<");
  int64_t texts = 0;
  for (std::sregex_iterator at(svg.begin(), svg.end(), text), end; at != end; ++at, ++texts) {
    CAPTURE(at->str(2));
    CHECK(std::stod((*at)[1]) + 0.6 * 11 * static_cast<double>(at->length(2)) <= width);
  }
  CHECK(texts > 4);
}
