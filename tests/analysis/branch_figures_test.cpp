// What is said of branches, figure by figure, against numbers worked out by hand: evidence and causal shares,
// the random dictionary, clusters, concepts of units, tests with ties and strata, families of q.
#include <doctest/doctest.h>

#include <cmath>
#include <map>

#include "analysis/branches/activation_shares.h"
#include "analysis/branches/concepts.h"
#include "analysis/branches/decoder_clusters.h"
#include "analysis/branches/random_dictionary.h"
#include "analysis/branches/specialisation.h"
#include "analysis/statistics/information.h"
#include "analysis/statistics/ranks.h"
#include "tests/analysis/small_network.h"

using namespace branchsae;

namespace {

const std::vector<ChannelGroup> kHalves{{"1x1", 0, 2}, {"5x5", 2, 2}};

SaeFile sae_of(const std::vector<float>& rows, const std::vector<float>& b_pre, int64_t k, float scale) {
  const auto d = std::ssize(b_pre), n = std::ssize(rows) / d;
  SaeFile sae;
  sae.spec = {.d = d, .n = n, .k = k};
  sae.parameters.w = HostTensor({n, d}, rows);
  sae.parameters.b_enc = HostTensor({n});
  sae.parameters.b_pre = HostTensor({d}, b_pre);
  sae.parameters.scale = scale;
  return sae;
}

/// Codes of k slots a token.
struct Codes {
  int64_t k;
  std::vector<float> values;
  std::vector<int32_t> indices;
  int64_t rows() const { return std::ssize(values) / k; }
  View<const float, 2> value_rows() const { return {values.data(), {rows(), k}}; }
  View<const int32_t, 2> index_rows() const { return {indices.data(), {rows(), k}}; }
};

/// One position; unit i fires on image x with values[x][i] where that is positive.
ImageScores scores_of(const std::vector<std::vector<float>>& values) {
  const auto units = std::ssize(values.front());
  ImageScores scores(units, 1);
  for (size_t image = 0; image < values.size(); ++image) {
    std::vector<int32_t> indices;
    for (int32_t i = 0; i < units; ++i) indices.push_back(values[image][static_cast<size_t>(i)] > 0 ? i : -1);
    scores.add(static_cast<int32_t>(image), {values[image].data(), {1, units}}, {indices.data(), {1, units}});
  }
  return scores;
}

const SpecialisationTest& find(const std::vector<SpecialisationTest>& tests, const std::string& branch,
                               const std::string& test) {
  for (const SpecialisationTest& one : tests) {
    if (one.branch == branch && one.test == test) return one;
  }
  FAIL("no test ", test, " of ", branch);
  return tests.front();
}

/// Units with a share of the second of two branches, all of one density.
BranchSubject two_branches(const std::vector<double>& share) {
  BranchSubject subject{"latents", {"1x1", "5x5"}, {}, {}, {}};
  for (size_t i = 0; i < share.size(); ++i) {
    subject.units.push_back(static_cast<int64_t>(i));
    subject.share.insert(subject.share.end(), {1 - share[i], share[i]});
    subject.density.push_back(1);
  }
  return subject;
}

}  // namespace

TEST_CASE("evidence: sums of e . (scale a - b_pre) over the tokens it fires on, by hand") {
  const SaeFile sae = sae_of({1, 2, 0, -1, 1, 1, 1, 1}, {0.5F, 0, 1, 0}, 1, 0.5F);
  // Scaled and centred: (1.5, 1, 0, 3), (0.5, 0, 2, 0); the third is nobody's.
  const std::vector<float> tokens{4, 2, 2, 6, 2, 0, 6, 0, 100, 100, 100, 100};
  const Codes codes{1, {0.5F, 0.5F, 0}, {0, 0, -1}};
  EvidenceSums sums(sae, kHalves, 1);
  sums.add({tokens.data(), {3, 4}}, codes.value_rows(), codes.index_rows());
  const LatentBranchValues shares = sums.shares();
  CHECK(shares.at(0, 0) == 4);   // (3.5 + 0.5) of a sum of 1
  CHECK(shares.at(0, 1) == -3);  // (-3 + 0)
  CHECK(std::isnan(shares.at(1, 0)));
}

TEST_CASE("causal shares: encoded again with a branch at its mean, TopK included, by hand") {
  // Latent 0 reads a channel of each branch, latent 1 another of the first.
  const SaeFile sae = sae_of({1, 0, 1, 0, 0, 4, 0, 0}, {0, 0, 0, 0}, 2, 2);
  const std::vector<float> means{1, 1, 0.5F, 7};
  // f_0 = 8, 16; without 1x1 4, 4, beside 8 of latent 1; without 5x5 7, 15.
  // f_1 = 16 on the third token; without 1x1 8, without 5x5 16.
  const std::vector<float> tokens{3, 0, 1, 0, 7, 0, 1, 0, 0, 2, 0, 0};
  const View<const float, 2> rows(tokens.data(), {3, 4});
  const Device device = Device::cpu(1);
  const auto stream = device.make_stream();
  {
    const Codes codes{2, {8, 0, 16, 0, 16, 0}, {0, -1, 0, -1, 1, -1}};
    CausalSums both(device, sae, 2, kHalves, means, 2, SaePrecision::kF32);  // in two parts
    both.add_sync(*stream, rows, codes.value_rows(), codes.index_rows());
    const LatentBranchValues shares = both.shares();
    // In single precision: sums of small integers, exact.
    CHECK(shares.at(0, 0) == 1 - 8.0 / 24);
    CHECK(shares.at(0, 1) == 1 - 22.0 / 24);
    CHECK(shares.at(1, 0) == 0.5);
    CHECK(shares.at(1, 1) == 0);
  }
  const Codes codes{1, {8, 16, 16}, {0, 0, 1}};
  CausalSums one(device, sae, 1, kHalves, means, 8, SaePrecision::kF32);
  one.add_sync(*stream, rows, codes.value_rows(), codes.index_rows());
  CHECK(one.shares().at(0, 0) == 1);  // latent 1 takes the only place
  CHECK(one.shares().at(0, 1) == 1 - 22.0 / 24);
  CHECK(one.shares().at(1, 0) == 0.5);
}

TEST_CASE("random dictionary: norms of rows spread over the autoencoder's, its centre and scale") {
  SaeFile sae = test::neurons("mixed4c", 6, 3);
  for (int64_t i = 0; i < 6; ++i) {
    sae.parameters.w[i * 6 + i] = static_cast<float>(i + 1);
    sae.parameters.b_pre[i] = static_cast<float>(10 * i);
    sae.parameters.b_enc[i] = 5;
  }
  sae.parameters.scale = 0.25F;
  const SaeFile random = random_dictionary(sae, 3, 1);
  for (int64_t i = 0; i < 3; ++i) {
    double squares = 0;
    for (int64_t c = 0; c < 6; ++c) {
      const auto value = static_cast<double>(random.parameters.w[i * 6 + c]);
      squares += value * value;
    }
    CHECK(std::sqrt(squares) == doctest::Approx(2 * i + 1));  // of rows 0, 2, 4
    CHECK(random.parameters.b_enc[i] == 0);
  }
  CHECK(random.parameters.scale == 0.25F);
  CHECK(random.parameters.b_pre[5] == 50);
  CHECK(random.tap == "mixed4c");
  CHECK(random.spec.k == 2);  // 3 / 6 of 3, rounded up from 1.5
}

TEST_CASE("clusters: opposite rows are no copies, however long") {
  const std::vector<float> decoder{1, 0, -1, 0, 5, 0};
  const View<const float, 2> rows(decoder.data(), {3, 2});
  CHECK(decoder_clusters(rows, std::vector<uint8_t>{1, 1, 1}, 0.9, 1) == std::vector<int32_t>{0, 1, 0});
}

TEST_CASE("concepts: by label at or below the synset, with the share of the top images") {
  const WordNet& wordnet = WordNet::built_in();
  const ImageScores scores = scores_of({{1, 1, 1, 1, 0}, {1, 0, 1, 1, 0}, {1, 0, 0, 1, 0}, {0, 2, 0, 0, 0}});
  const Concept dogs{"dog", {1, 1, 0, 1}, {1, 0, 0, 0}, 3, 1};
  const std::vector<int32_t> labels{wordnet.find("n02099601"), -1, wordnet.find(kAnimal), wordnet.find(kDog),
                                    -1};
  const UnitConcept units = labelled_units(scores, labels, dogs, kDog);
  CHECK(units.positive == std::vector<uint8_t>{1, 0, 0, 1, 0});  // a retriever, a dog; no animal at large
  CHECK(units.positives == 2);
  for (size_t i = 0; i < 4; ++i) CHECK(units.score[i] == 0.5);  // the third image has no label
  CHECK(std::isnan(units.score[4]));
}

TEST_CASE("concepts: colour by what grey keeps, orientation by what the mirror keeps") {
  const ImageScores original = scores_of({{4, 4}}), changed = scores_of({{2, 4}});
  const UnitConcept colour = coloured_units(original, changed, 0.5),
                    orientation = oriented_units(original, changed, 0.3);
  CHECK(colour.name == "colour");
  CHECK(colour.score == std::vector<double>{0.5, 0});
  CHECK(colour.positive == std::vector<uint8_t>{1, 0});
  CHECK(orientation.name == "orientation");
  CHECK(orientation.score[0] == doctest::Approx(2.0 / 6));
  CHECK(orientation.positive == std::vector<uint8_t>{1, 0});
  CHECK(oriented_units(original, changed, 0.34).positives == 0);
}

TEST_CASE("tests: equal shares and scores count as half, a share of exactly the limit is localised") {
  const std::vector<double> share{0.25, 0.5, 0.5, 0.75, 0.5, 0.25, 0.75, 0.5, 0.25, 0.75, 0.25, 0.5};
  UnitConcept animal{"animal", "", "AUROC", {0, 1, 0, 1, 1, 0, 1, 0, 0, 0, 1, 0}};
  animal.score = {1, 3, 2, 3, 3, 2, 3, 1, 1, 2, 2, std::nan("")};
  const BranchSubject subject = two_branches(share);
  const auto tests = specialisation_tests(subject, std::vector{animal}, {.rounds = 99, .strata = 1});
  double wins = 0;
  std::vector<double> score;
  for (size_t i = 0; i < share.size(); ++i) {
    for (size_t j = 0; j < share.size(); ++j) {
      if (animal.positive[i] == 0 || animal.positive[j] != 0) continue;
      wins += share[i] > share[j] ? 1 : (share[i] == share[j] ? 0.5 : 0);
    }
    if (!std::isnan(animal.score[i])) score.push_back(animal.score[i]);
  }
  const SpecialisationTest& auroc = find(tests, "5x5", "auroc");
  CHECK(auroc.value == doctest::Approx(wins / (5 * 7)).epsilon(1e-12));
  CHECK(find(tests, "1x1", "auroc").value == doctest::Approx(1 - wins / (5 * 7)).epsilon(1e-12));
  CHECK(auroc.low < auroc.value);
  CHECK(auroc.high > auroc.value);
  CHECK(auroc.n == 12);
  CHECK(auroc.positives == 5);
  // One unit has no score. The other shares keep the ranks that they have among all twelve.
  const SpecialisationTest& rank = find(tests, "5x5", "spearman");
  CHECK(rank.n == 11);
  std::vector<double> ranks = mid_ranks(share);
  ranks.pop_back();
  CHECK(rank.value == doctest::Approx(pearson(ranks, mid_ranks(score))).epsilon(1e-12));
  CHECK(find(tests, "5x5", "fisher").localised == 8);
  CHECK(find(tests, "5x5", "fisher").both == 4);
  CHECK(find(tests, "1x1", "fisher").localised == 9);
  CHECK(find(tests, "5x5", "5x5 against 1x1").value == doctest::Approx(2 * wins / (5 * 7) - 1));
  // Of two equal shares the first is the dominant one: 9 units in 1x1, 3 in 5x5.
  CHECK(find(tests, "all", "mutual information").value ==
        doctest::Approx(mutual_information_bits({{6, 3}, {1, 2}})));
}

TEST_CASE("tests: no odds ratio where no unit, or every unit, lies in the branch") {
  const std::vector<double> share{0.25, 0.125, 0.25, 0.375, 0.25, 0.125};  // 5x5 holds none, 1x1 all
  UnitConcept animal{"animal", "", "AUROC", {0, 1, 0, 1, 1, 0}};
  animal.score = {1, 3, 2, 3, 3, 2};
  const auto tests =
      specialisation_tests(two_branches(share), std::vector{animal}, {.rounds = 99, .strata = 1});
  for (const char* branch : {"1x1", "5x5"}) {
    for (const char* name : {"fisher", "overlap"}) {
      const SpecialisationTest& test = find(tests, branch, name);
      CAPTURE(test.localised);
      CHECK(std::isnan(test.value));
      CHECK(std::isnan(test.low));
      CHECK(std::isnan(test.high));
      CHECK(test.p == 1);
    }
  }
}

TEST_CASE("tests: shares change places within strata of density only, and the data count once") {
  std::vector<double> share;
  UnitConcept animal{"animal", "", "AUROC"};
  for (int i = 0; i < 40; ++i) {
    share.push_back(i < 20 ? 0.1 : 0.9);
    animal.positive.push_back(i < 20 ? 0 : 1);
    animal.score.push_back(i < 20 ? 0 : 1);
  }
  BranchSubject subject = two_branches(share);
  for (size_t i = 0; i < 40; ++i) subject.density[i] = i < 20 ? 1 : 2;
  for (const auto& [strata, p] : std::map<int64_t, double>{{2, 1.0}, {1, 0.01}}) {
    const auto tests =
        specialisation_tests(subject, std::vector{animal}, {.rounds = 99, .strata = strata, .seed = 1});
    for (const char* name : {"overlap", "auroc", "spearman"}) {
      CAPTURE(std::string(name));
      CHECK(find(tests, "5x5", name).p == p);  // 40 choose 20: chance does not reach it
    }
    CHECK(find(tests, "all", "mutual information").p == (strata == 2 ? 1.0 : p));
  }
}

TEST_CASE("tests: q over the branches and concepts of one family of one subject") {
  std::vector<SpecialisationTest> tests(7);
  const auto set = [&](size_t i, const char* subject, const char* test, double p) {
    tests[i].subject = subject;
    tests[i].test = test;
    tests[i].p = p;
  };
  set(0, "latents", "auroc", 0.01);
  set(1, "latents", "auroc", 0.04);
  set(2, "neurons", "auroc", 0.5);
  set(3, "latents", "fisher", 0.03);
  set(4, "latents", "5x5 against 3x3", 0.02);
  set(5, "latents", "3x3 against 5x5", 0.03);
  set(6, "neurons", "fisher", 0.2);
  adjust(tests);
  const std::vector<double> expected{0.02, 0.04, 0.5, 0.03, 0.03, 0.03, 0.2};
  for (size_t i = 0; i < tests.size(); ++i) {
    CAPTURE(i);
    CHECK(tests[i].q == doctest::Approx(expected[i]));
  }
  CHECK(tests[0].correction.find("over 2 tests: auroc, latents") != std::string::npos);
  CHECK(tests[4].correction.find("over 2 tests: against, latents") != std::string::npos);
}
