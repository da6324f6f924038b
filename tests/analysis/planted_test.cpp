// Proof by construction: a dictionary whose atoms' branches are known is trained on, and everything that is
// said of branches has to come out as it was planted.
#include <doctest/doctest.h>

#include <numeric>

#include "analysis/branches/activation_shares.h"
#include "analysis/branches/decoder_clusters.h"
#include "analysis/branches/specialisation.h"
#include "model/sae_trainer.h"
#include "tests/analysis/planted.h"
#include "tests/analysis/uniformity.h"

using namespace branchsae;
using test::Planted;

namespace {

constexpr size_t kWidth = 96;
constexpr int64_t kLatents = 80, kKept = 3, kBatch = 256, kSteps = 5000;

SaeFile train(const Planted& planted, const Device& device) {
  SaeTrainer trainer(device, {.d = planted.d,
                              .n = kLatents,
                              .k = kKept,
                              .batch = kBatch,
                              .learning_rate = 3e-3,
                              .total_steps = kSteps,
                              .seed = 1});
  const auto stream = device.make_stream();
  trainer.start_sync(planted.rows(), planted.rows().rows(0, kBatch), *stream);
  Random random(2, 0);
  HostTensor batch({kBatch, planted.d});
  for (int64_t step = 0; step < kSteps; ++step) {
    for (int64_t row = 0; row < kBatch; ++row) {
      const auto from = static_cast<int64_t>(random.below(static_cast<uint64_t>(planted.tokens.dim(0))));
      std::copy_n(planted.tokens.data() + from * planted.d, planted.d, batch.data() + row * planted.d);
    }
    trainer.step(batch.matrix(), *stream);
  }
  return {{.d = planted.d, .n = kLatents, .k = kKept}, trainer.state_sync().parameters, "planted", "", ""};
}

struct Codes {
  std::vector<float> values;
  std::vector<int32_t> indices;
  int64_t rows = 0;
  View<const float, 2> value_rows() const { return {values.data(), {rows, kKept}}; }
  View<const int32_t, 2> index_rows() const { return {indices.data(), {rows, kKept}}; }
};

Codes encode(const Device& device, const SaeFile& sae, View<const float, 2> tokens) {
  Codes codes{std::vector<float>(static_cast<size_t>(tokens.shape[0] * kKept)),
              std::vector<int32_t>(static_cast<size_t>(tokens.shape[0] * kKept)), tokens.shape[0]};
  const auto stream = device.make_stream();
  make_executor(device, sae, tokens.shape[0])
      ->encode(*stream, tokens, {codes.values.data(), {codes.rows, kKept}},
               {codes.indices.data(), {codes.rows, kKept}});
  stream->synchronize();
  return codes;
}

ImageScores scores_of(const Planted& planted, const Codes& codes) {
  ImageScores scores(kLatents, Planted::kPositions);
  for (int64_t image = 0; image < planted.images; ++image) {
    scores.add(static_cast<int32_t>(image),
               codes.value_rows().rows(image * Planted::kPositions, Planted::kPositions),
               codes.index_rows().rows(image * Planted::kPositions, Planted::kPositions));
  }
  return scores;
}

/// Everything that one planted world gives.
struct World {
  explicit World(const Planted::Link& link)
      : planted(7, link),
        sae(train(planted, device)),
        codes(encode(device, sae, planted.rows())),
        scores(scores_of(planted, codes)),
        shares(latent_shares(sae.parameters.w.matrix(), planted.groups)) {
    for (size_t b = 0; b < planted.groups.size(); ++b) {
      branches.names.push_back(planted.groups[b].name);
      branches.of.push_back(static_cast<int32_t>(b));
    }
    cluster = decoder_clusters(sae.parameters.w.matrix(), live_units(scores), 0.9, 2);
  }
  UnitConcept animals(const std::vector<uint8_t>& shown) const {
    Concept images{"animal", std::vector<uint8_t>(shown.size(), 1), shown, std::ssize(shown), 0};
    for (const uint8_t is : shown) images.shown_count += is;
    return selective_units(scores, images, 2);
  }
  BranchSubject subject() const { return branch_subject("latents", branches, shares, cluster, scores); }

  Device device = Device::cpu(2);
  Planted planted;
  SaeFile sae;
  Codes codes;
  ImageScores scores;
  std::vector<LatentShares> shares;
  std::vector<int32_t> cluster;
  ComparedBranches branches;
};

const World& linked() {
  static const World world({0.45, 0.05});
  return world;
}

const SpecialisationTest& find(const std::vector<SpecialisationTest>& tests, const std::string& branch,
                               const std::string& test) {
  for (const SpecialisationTest& one : tests) {
    if (one.branch == branch && one.test == test) return one;
  }
  FAIL("no test ", test, " of ", branch);
  return tests.front();
}

float cosine(std::span<const float> a, std::span<const float> b) {
  const float product = std::inner_product(a.begin(), a.end(), b.begin(), 0.0F);
  const float aa = std::inner_product(a.begin(), a.end(), a.begin(), 0.0F),
              bb = std::inner_product(b.begin(), b.end(), b.begin(), 0.0F);
  return aa > 0 && bb > 0 ? product / std::sqrt(aa * bb) : 0;
}

/// The latent nearest to an atom.
size_t nearest(const World& world, size_t atom) {
  size_t best = 0;
  float most = -2;
  for (size_t i = 0; i < static_cast<size_t>(kLatents); ++i) {
    const auto row = world.sae.parameters.w.values().subspan(i * kWidth, kWidth);
    const float value = cosine(row, world.planted.atoms[atom]);
    if (value > most) most = value, best = i;
  }
  CAPTURE(atom);
  CHECK(most > 0.9F);
  return best;
}

}  // namespace

TEST_CASE("planted: every atom is found again, with its branch's share, evidence and effect") {
  const World& world = linked();
  EvidenceSums evidence(world.sae, world.planted.groups, 2);
  evidence.add(world.planted.rows(), world.codes.value_rows(), world.codes.index_rows());
  std::vector<float> means(kWidth);
  for (int64_t t = 0; t < world.planted.tokens.dim(0); ++t) {
    for (size_t c = 0; c < kWidth; ++c)
      means[c] += world.planted.tokens[t * 96 + static_cast<int64_t>(c)] /
                  static_cast<float>(world.planted.tokens.dim(0));
  }
  CausalSums causal(world.device, world.sae, kKept, world.planted.groups, means, 1000, SaePrecision::kF32);
  const auto stream = world.device.make_stream();
  causal.add_sync(*stream, world.planted.rows(), world.codes.value_rows(), world.codes.index_rows());
  const LatentBranchValues g = evidence.shares(), k = causal.shares();
  for (size_t atom = 0; atom < world.planted.atoms.size(); ++atom) {
    const size_t latent = nearest(world, atom), b = world.planted.branch[atom];
    CAPTURE(latent);
    CHECK(world.shares[latent].branches[b].energy >= 0.95);
    CHECK(world.shares[latent].dominant == static_cast<int32_t>(b));
    CHECK(g.at(latent, b) >= 0.95);
    CHECK(k.at(latent, b) >= 0.6);  // not 1: the branch's mean holds a little of every atom
    for (size_t other = 0; other < 4; ++other) {
      if (other != b) CHECK(k.at(latent, other) < 0.2);
    }
  }
}

TEST_CASE("planted: evidence sums to one, and is one where there is one branch") {
  const World& world = linked();
  EvidenceSums four(world.sae, world.planted.groups, 1), one(world.sae, {{"all", 0, 96}}, 2),
      threads(world.sae, world.planted.groups, 3);
  for (EvidenceSums* sums : {&four, &one, &threads})
    sums->add(world.planted.rows(), world.codes.value_rows(), world.codes.index_rows());
  const LatentBranchValues shares = four.shares(), whole = one.shares(), same = threads.shares();
  int64_t live = 0;
  for (size_t i = 0; i < static_cast<size_t>(kLatents); ++i) {
    if (std::isnan(whole.at(i, 0))) continue;
    ++live;
    CHECK(whole.at(i, 0) == 1);
    double sum = 0;
    for (size_t b = 0; b < 4; ++b) {
      sum += shares.at(i, b);
      CHECK(shares.at(i, b) == same.at(i, b));
    }
    CHECK(sum == doctest::Approx(1).epsilon(1e-12));
  }
  CHECK(live >= 40);
}

TEST_CASE("planted: evidence does not change when the encoder's rows are scaled") {
  const World& world = linked();
  SaeFile scaled{world.sae.spec, {}, "planted", "", ""};
  scaled.parameters.w = world.sae.parameters.w.clone();
  scaled.parameters.b_pre = world.sae.parameters.b_pre.clone();
  scaled.parameters.scale = world.sae.parameters.scale;
  for (float& value : scaled.parameters.w.values()) value *= 4;
  EvidenceSums before(world.sae, world.planted.groups, 1), after(scaled, world.planted.groups, 1);
  before.add(world.planted.rows(), world.codes.value_rows(), world.codes.index_rows());
  after.add(world.planted.rows(), world.codes.value_rows(), world.codes.index_rows());
  const LatentBranchValues a = before.shares(), b = after.shares();
  for (size_t i = 0; i < a.values.size(); ++i) {
    if (!std::isnan(a.values[i])) CHECK(a.values[i] == b.values[i]);
  }
}

TEST_CASE("planted: the link of the concept with 5x5 is found, and no other") {
  const World& world = linked();
  const std::vector<UnitConcept> concepts{world.animals(world.planted.shown)};
  CHECK(concepts[0].positives >= 6);
  auto tests = specialisation_tests(world.subject(), concepts, {.rounds = 2000, .seed = 3, .threads = 2});
  adjust(tests);
  for (const char* name : {"fisher", "overlap", "auroc", "spearman"}) {
    CAPTURE(std::string(name));
    CHECK(find(tests, "5x5", name).q < 0.01);
    CHECK(find(tests, "5x5", name).low > 0.5);
    for (const char* other : {"1x1", "3x3", "pool"}) CHECK(find(tests, other, name).q > 0.05);
  }
  CHECK(find(tests, "5x5", "5x5 against 3x3").q < 0.01);
  CHECK(find(tests, "5x5", "5x5 against 3x3").low > 0);
  CHECK(find(tests, "3x3", "3x3 against 5x5").p > 0.9);
  CHECK(find(tests, "all", "mutual information").p < 0.01);
}

TEST_CASE("planted: with shuffled labels p is uniform") {
  const World world({0.25, 0.25});  // no link, so that latents of a branch do not rise and fall together
  const BranchSubject subject = world.subject();
  constexpr int kRuns = 200;
  std::map<std::string, std::vector<double>> p;
  for (int run = 0; run < kRuns; ++run) {
    std::vector<uint8_t> shown;
    for (const int32_t image : random_permutation(world.planted.images, 11, static_cast<uint64_t>(run)))
      shown.push_back(world.planted.shown[static_cast<size_t>(image)]);
    UnitConcept units = world.animals(shown);
    units.positive.clear();
    for (const double auroc : units.score) units.positive.push_back(auroc > 0.5 ? 1 : 0);
    const auto tests = specialisation_tests(
        subject, std::vector{units}, {.rounds = 499, .seed = static_cast<uint64_t>(run), .threads = 2});
    for (const SpecialisationTest& one : tests) {
      if (one.test == "spearman" || one.test == "auroc") p[one.branch + " " + one.test].push_back(one.p);
    }
  }
  REQUIRE(p.size() == 8);
  for (const auto& [name, values] : p) {
    CAPTURE(std::string(name));
    CHECK(values.size() >= 195);
    // Kolmogorov's distribution: 1.95 is passed by one in a thousand.
    CHECK(test::distance_from_uniform(values) < 1.95);
  }
}
