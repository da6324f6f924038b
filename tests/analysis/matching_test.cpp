#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "analysis/matching/correlation.h"
#include "analysis/matching/pairs.h"
#include "analysis/statistics/ranks.h"
#include "engine/error.h"
#include "engine/random.h"

using namespace branchsae;

namespace {

/// Random sparse codes of `tokens` tokens, and the same written out.
struct RandomCodes {
  RandomCodes(int64_t tokens, int64_t latents, int64_t k, uint64_t seed)
      : shape{tokens, k}, n(latents), dense(static_cast<size_t>(tokens * latents)) {
    Random random(seed, 0);
    for (int64_t t = 0; t < tokens; ++t) {
      const std::vector<int32_t> picked = random_permutation(latents, seed, static_cast<uint64_t>(t) + 1);
      for (int64_t i = 0; i < k; ++i) {
        const bool unused = random.uniform() < 0.2;
        indices.push_back(unused ? -1 : picked[static_cast<size_t>(i)]);
        values.push_back(unused ? 0.0F : static_cast<float>(random.uniform()));
        if (!unused) dense[static_cast<size_t>(t * n + picked[static_cast<size_t>(i)])] = values.back();
      }
    }
  }
  View<const float, 2> value_view() const { return {values.data(), shape}; }
  View<const int32_t, 2> index_view() const { return {indices.data(), shape}; }
  std::vector<double> column(int64_t latent) const {
    std::vector<double> result;
    for (int64_t t = 0; t < shape[0]; ++t)
      result.push_back(static_cast<double>(dense[static_cast<size_t>(t * n + latent)]));
    return result;
  }

  std::array<int64_t, 2> shape;
  int64_t n;
  std::vector<float> values, dense;
  std::vector<int32_t> indices;
};

double total(const std::vector<LatentPair>& pairs) {
  return std::accumulate(pairs.begin(), pairs.end(), 0.0, [](double sum, const LatentPair& pair) {
    return sum + static_cast<double>(pair.similarity);
  });
}

/// The best total over all ways to give each row a column of its own.
double best_total(View<const float, 2> similarity) {
  std::vector<int64_t> columns(static_cast<size_t>(similarity.shape[1]));
  std::iota(columns.begin(), columns.end(), int64_t{0});
  double best = -1e30;
  do {
    double sum = 0;
    for (int64_t i = 0; i < similarity.shape[0]; ++i)
      sum += static_cast<double>(similarity(i, columns[static_cast<size_t>(i)]));
    best = std::max(best, sum);
  } while (std::ranges::next_permutation(columns).found);
  return best;
}

}  // namespace

TEST_CASE("code correlation: Pearson's r of the codes written out, in several pieces") {
  const RandomCodes a(300, 12, 4, 1), b(300, 9, 3, 2);
  CodeCorrelation correlation(12, 9);
  for (int64_t begin = 0; begin < 300; begin += 100) {
    correlation.add(a.value_view().rows(begin, 100), a.index_view().rows(begin, 100),
                    b.value_view().rows(begin, 100), b.index_view().rows(begin, 100));
  }
  const HostTensor r = correlation.correlations();
  for (int64_t i = 0; i < 12; ++i) {
    for (int64_t j = 0; j < 9; ++j) {
      const double expected = pearson(a.column(i), b.column(j));
      CHECK(static_cast<double>(r.data()[i * 9 + j]) == doctest::Approx(expected).epsilon(1e-6));
    }
  }
}

TEST_CASE("code correlation: a latent with itself is 1, a silent one 0, wrong codes are refused") {
  const RandomCodes a(50, 6, 2, 3);
  CodeCorrelation correlation(6, 8);
  correlation.add(a.value_view(), a.index_view(), a.value_view(), a.index_view());
  const HostTensor r = correlation.correlations();
  CHECK(r.data()[2 * 8 + 2] == doctest::Approx(1));
  CHECK(r.data()[2 * 8 + 7] == 0);
  CHECK_THROWS_AS(
      correlation.add(a.value_view(), a.index_view(), a.value_view().rows(0, 49), a.index_view().rows(0, 49)),
      ShapeError);
  CodeCorrelation narrow(2, 6);
  CHECK_THROWS_AS(narrow.add(a.value_view(), a.index_view(), a.value_view(), a.index_view()), InputError);
}

TEST_CASE("class profiles: the same classes in another order of images are alike, flat ones are 0") {
  const ImageSynsets labels(WordNet::built_in(), {"n01440764", "n02099601", "n02099601", ""});
  ImageScores scores(4, 1);
  const float values[4][4] = {{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}, {1, 1, 1, 5}};
  for (int32_t image = 0; image < 4; ++image) {
    std::vector<float> z;
    std::vector<int32_t> latents;
    for (int32_t latent = 0; latent < 4; ++latent) {
      z.push_back(values[latent][image]);
      latents.push_back(latent);
    }
    scores.add(image, {z.data(), {1, 4}}, {latents.data(), {1, 4}});
  }
  const HostTensor similarity = class_profile_similarity(scores, scores, labels);
  CHECK(similarity.data()[1 * 4 + 2] == doctest::Approx(1));   // two images of one class
  CHECK(similarity.data()[0 * 4 + 1] == doctest::Approx(-1));  // one class against the other
  CHECK(similarity.data()[3 * 4 + 0] == 0);                    // as much on every class
}

TEST_CASE("pairs: mutual best of a hand-made matrix, threshold and NaN") {
  const float nan = std::nanf("");
  const std::vector<float> values{0.9F, 0.8F, 0.1F,  //
                                  0.7F, 0.2F, 0.3F,  //
                                  nan,  nan,  0.3F};
  const View<const float, 2> similarity(values.data(), {3, 3});
  const auto pairs = mutual_best(similarity, 0);
  REQUIRE(pairs.size() == 1);  // row 1 is the lower of the two best of column 2, and prefers column 0
  CHECK(pairs[0].a == 0);
  CHECK(pairs[0].b == 0);
  CHECK(mutual_best(similarity, 0.95F).empty());
}

TEST_CASE("pairs: one-to-one has the largest total of all assignments") {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    Random random(seed, 9);
    const auto rows = static_cast<int64_t>(1 + random.below(6)),
               columns = rows + static_cast<int64_t>(random.below(3));
    std::vector<float> values(static_cast<size_t>(rows * columns));
    for (float& value : values) {
      value = static_cast<float>(random.normal());
      if (seed % 3 == 0) value = std::round(value);  // ties
    }
    const View<const float, 2> wide(values.data(), {rows, columns});
    const View<const float, 2> tall(values.data(), {columns, rows}, {1, columns});
    const auto pairs = one_to_one(wide, -1e9F), turned = one_to_one(tall, -1e9F);
    CHECK(static_cast<int64_t>(pairs.size()) == rows);
    CHECK(total(pairs) == doctest::Approx(best_total(wide)).epsilon(1e-6));
    CHECK(total(turned) == doctest::Approx(best_total(wide)).epsilon(1e-6));
    std::vector<int32_t> used;
    for (const LatentPair& pair : pairs) used.push_back(pair.b);
    std::ranges::sort(used);
    CHECK(std::ranges::adjacent_find(used) == used.end());
  }
}

TEST_CASE("pairs: the quantile of the live entries") {
  std::vector<float> values(100);
  std::iota(values.begin(), values.end(), 0.0F);
  std::vector<uint8_t> rows(10, 1), columns(10, 1);
  CHECK(similarity_quantile({values.data(), {10, 10}}, rows, columns, 0.5) == 49);
  rows.assign(10, 0);
  CHECK(std::isnan(similarity_quantile({values.data(), {10, 10}}, rows, columns, 0.5)));
  rows[0] = 1;
  CHECK(similarity_quantile({values.data(), {10, 10}}, rows, columns, 1) == 9);
  CHECK_THROWS_AS(similarity_quantile({values.data(), {10, 10}}, std::vector<uint8_t>(3), columns, 1),
                  ShapeError);
}

TEST_CASE("branch agreement: pairs that keep their branch, and pairs that do not care") {
  constexpr int kPairs = 400;
  Random random(4, 0);
  BranchProfile a, kept, random_branch;
  std::vector<LatentPair> pairs;
  for (int32_t i = 0; i < kPairs; ++i) {
    const auto branch = static_cast<int32_t>(random.below(4));
    pairs.push_back({i, i, 1});
    a.dominant.push_back(branch);
    a.share.push_back(branch == 2 ? 0.9 + 0.1 * random.uniform() : 0.1 * random.uniform());
    a.density.push_back(random.uniform());
    const bool keeps = random.uniform() < 0.8;
    kept.dominant.push_back(keeps ? branch : static_cast<int32_t>(random.below(4)));
    random_branch.dominant.push_back(static_cast<int32_t>(random.below(4)));
    for (BranchProfile* profile : {&kept, &random_branch}) {
      profile->share.push_back(profile->dominant.back() == 2 ? 0.8 : 0.1 * random.uniform());
      profile->density.push_back(a.density.back());
    }
  }
  const BranchAgreement found = branch_agreement(pairs, a, kept, 2, 4, 500, 1);
  CHECK(found.pairs == kPairs);
  CHECK(found.in_branch.total() == kPairs);
  CHECK(found.odds.low > 10);
  CHECK(found.fisher.greater.p < 1e-20);
  CHECK(found.kappa > 0.7);
  CHECK(found.shares.p < 1e-10);
  CHECK(found.same.p == doctest::Approx(1.0 / 501));
  CHECK(found.same.null_mean == doctest::Approx(kPairs / 4.0).epsilon(0.1));

  const BranchAgreement none = branch_agreement(pairs, a, random_branch, 2, 4, 500, 1);
  CHECK(none.odds.low < 1);
  CHECK(none.odds.high > 1);
  CHECK(std::abs(none.kappa) < 0.1);
  CHECK(none.same.p > 0.01);
}
