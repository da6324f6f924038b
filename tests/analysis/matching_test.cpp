// Codes side by side: correlations, nulls, pairs.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <mutex>
#include <numeric>

#include "analysis/matching/assignment.h"
#include "analysis/matching/code_store.h"
#include "analysis/matching/correlation.h"
#include "analysis/matching/pairs.h"
#include "analysis/statistics/ranks.h"
#include "engine/error.h"
#include "engine/random.h"

using namespace branchsae;

namespace {

/// Random sparse codes, and the same written out [images x positions, latents].
struct RandomCodes {
  RandomCodes(int64_t images, int64_t positions, int64_t latents, int64_t k, uint64_t seed)
      : store(latents, positions), n(latents), dense(static_cast<size_t>(images * positions * latents)) {
    Random random(seed, 0);
    for (int64_t image = 0; image < images; ++image) {
      std::vector<float> values;
      std::vector<int32_t> indices;
      for (int64_t p = 0; p < positions; ++p) {
        const int64_t t = image * positions + p;
        const auto picked = random_permutation(latents, seed, static_cast<uint64_t>(t) + 1);
        for (int64_t i = 0; i < k; ++i) {
          const bool unused = random.uniform() < 0.2;
          indices.push_back(unused ? -1 : picked[static_cast<size_t>(i)]);
          values.push_back(unused ? 0.0F : 0.01F + static_cast<float>(random.uniform()));
          if (!unused) dense[static_cast<size_t>(t * n + picked[static_cast<size_t>(i)])] = values.back();
        }
      }
      store.add_image({values.data(), {positions, k}}, {indices.data(), {positions, k}});
    }
  }
  /// A latent's values at the positions of these images.
  std::vector<double> column(int64_t latent, const std::vector<int32_t>& images) const {
    std::vector<double> result;
    for (int64_t image : images) {
      for (int64_t p = 0; p < store.positions(); ++p)
        result.push_back(
            static_cast<double>(dense[static_cast<size_t>((image * store.positions() + p) * n + latent)]));
    }
    return result;
  }

  CodeStore store;
  int64_t n;
  std::vector<float> dense;
};

std::vector<float> all_rows(const CodeCorrelation& correlation, int threads) {
  std::vector<float> result(static_cast<size_t>(correlation.rows() * correlation.columns()));
  correlation.for_rows(threads, [&](int64_t first, View<const float, 2> r) {
    std::copy_n(r.data, r.size(), result.data() + first * correlation.columns());
  });
  return result;
}

/// The largest total over all ways to pair rows with columns or leave them alone.
double best_total(const std::vector<std::vector<double>>& r, size_t row, std::vector<bool>& used) {
  if (row == r.size()) return 0;
  double best = best_total(r, row + 1, used);
  for (size_t j = 0; j < used.size(); ++j) {
    if (used[j] || !(r[row][j] > 0)) continue;
    used[j] = true;
    best = std::max(best, r[row][j] + best_total(r, row + 1, used));
    used[j] = false;
  }
  return best;
}

}  // namespace

TEST_CASE("code correlation: Pearson's r of the codes written out, images paired in any way") {
  const RandomCodes a(30, 4, 70, 5, 1), b(30, 4, 9, 3, 2);
  for (const ImagePairing& pairing :
       {same_images(30), half_of_images(30, true), shuffled_images(same_images(30), 5)}) {
    const CodeCorrelation correlation(a.store, b.store, pairing);
    const std::vector<float> r = all_rows(correlation, 1);
    for (int64_t i = 0; i < 70; ++i) {
      for (int64_t j = 0; j < 9; ++j) {
        const double expected = pearson(a.column(i, pairing.a), b.column(j, pairing.b));
        CAPTURE(i);
        CAPTURE(j);
        // r is stored in float32.
        if (std::isnan(expected)) {
          CHECK(r[static_cast<size_t>(i * 9 + j)] == 0);
        } else {
          CHECK(static_cast<double>(r[static_cast<size_t>(i * 9 + j)]) ==
                doctest::Approx(expected).epsilon(1e-6));
        }
      }
    }
    CHECK(all_rows(correlation, 3) == r);
  }
}

TEST_CASE(
    "code correlation: a latent with itself is 1, silent and constant ones 0, wrong codes are refused") {
  CodeStore codes(4, 1);
  const float values[3][3] = {{1, 2, 0.1F}, {3, 0, 0.1F}, {2, 1, 0.1F}};
  const int32_t indices[3][3] = {{0, 1, 2}, {0, -1, 2}, {0, 1, 2}};
  for (int i = 0; i < 3; ++i) codes.add_image({values[i], {1, 3}}, {indices[i], {1, 3}});
  const CodeCorrelation correlation(codes, codes, same_images(3));
  const std::vector<float> r = all_rows(correlation, 1);
  CHECK(r[0] == doctest::Approx(1));
  CHECK(r[1] == doctest::Approx(-1));
  CHECK(r[2 * 4 + 2] == 0);
  CHECK(r[3 * 4 + 3] == 0);
  CHECK(correlation.live_a() == std::vector<uint8_t>{1, 1, 0, 0});
  CHECK(codes.densities() == std::vector<double>{1, 2.0 / 3, 1, 0});

  CHECK_THROWS_AS(codes.add_image({values[0], {1, 3}}, {indices[0], {1, 2}}), ShapeError);
  const int32_t beyond[3] = {0, 1, 4};
  CHECK_THROWS_AS(codes.add_image({values[0], {1, 3}}, {beyond, {1, 3}}), InputError);
  const CodeStore wide(4, 2);
  CHECK_THROWS_AS(CodeCorrelation(codes, wide, same_images(0)), ShapeError);
  CHECK_THROWS_AS(CodeCorrelation(codes, codes, same_images(5)), InputError);
  CHECK_THROWS_AS(CodeStore(0, 1), InputError);
}

TEST_CASE("shuffled images: the same images, none with itself, halves stay apart, seeded") {
  const ImagePairing odd = half_of_images(101, true), shuffled = shuffled_images(odd, 3);
  CHECK(shuffled.a == odd.a);
  CHECK(shuffled.b != odd.b);
  for (size_t t = 0; t < odd.a.size(); ++t) CHECK(shuffled.a[t] != shuffled.b[t]);
  std::vector<int32_t> sorted = shuffled.b;
  std::ranges::sort(sorted);
  CHECK(sorted == odd.b);
  CHECK(shuffled_images(odd, 3).b == shuffled.b);
  CHECK(shuffled_images(odd, 4).b != shuffled.b);
  CHECK(half_of_images(101, false).size() == 51);
}

TEST_CASE("class profiles: mean over a class's images of the largest value on each") {
  CodeStore codes(3, 2);
  // image: positions x (latent, value)
  const float values[4][4] = {{1, 5, 3, 0}, {2, 0, 0, 0}, {4, 0, 8, 0}, {9, 9, 9, 9}};
  const int32_t indices[4][4] = {{0, 1, 0, -1}, {0, -1, -1, -1}, {1, -1, 1, -1}, {0, 1, 0, 1}};
  for (int i = 0; i < 4; ++i) codes.add_image({values[i], {2, 2}}, {indices[i], {2, 2}});
  const std::vector<int32_t> images{0, 1, 2, 3}, classes{7, 7, 2, -1};
  const CodeStore profiles = class_profiles(codes, images, classes);
  REQUIRE(profiles.images() == 2);  // class 2, class 7; image 3 has none
  REQUIRE(profiles.image(0).size() == 1);
  CHECK(profiles.image(0)[0].latent == 1);
  CHECK(profiles.image(0)[0].value == 8);
  REQUIRE(profiles.image(1).size() == 2);
  CHECK(profiles.image(1)[0].value == doctest::Approx((3 + 2) / 2.0));
  CHECK(profiles.image(1)[1].value == doctest::Approx(5 / 2.0));
  CHECK(class_profiles(codes, std::vector<int32_t>{1, 2}, classes).image(1)[0].value == 2);
  CHECK_THROWS_AS(class_profiles(codes, std::vector<int32_t>{0, 1, 3}, classes), InputError);
  CHECK_THROWS_AS(class_profiles(codes, images, std::vector<int32_t>{1}), ShapeError);
}

TEST_CASE("correlation quantile: of live rows and columns, to its resolution") {
  const RandomCodes a(60, 1, 40, 6, 3), b(60, 1, 50, 7, 4);
  const CodeCorrelation correlation(a.store, b.store, same_images(60));
  const std::vector<uint8_t> rows = correlation.live_a(), columns = correlation.live_b();
  const std::vector<float> r = all_rows(correlation, 1);
  std::vector<float> live;
  for (size_t i = 0; i < 40; ++i) {
    for (size_t j = 0; j < 50; ++j) {
      if (rows[i] != 0 && columns[j] != 0) live.push_back(r[i * 50 + j]);
    }
  }
  std::ranges::sort(live);
  for (const double q : {0.5, 0.9, 0.999}) {
    const auto rank = static_cast<size_t>(std::ceil(q * static_cast<double>(live.size()))) - 1;
    CHECK(similarity_quantile(correlation, 2, q) ==
          doctest::Approx(static_cast<double>(live[rank])).scale(1).epsilon(1e-5));
  }
  const CodeStore silent(5, 1);
  CHECK(std::isnan(similarity_quantile(CodeCorrelation(silent, silent, same_images(0)), 1, 0.9)));
}

TEST_CASE("pairs: mutual best, candidates and watched ones agree with the whole matrix") {
  const RandomCodes a(80, 1, 90, 6, 5), b(80, 1, 60, 6, 6);
  const CodeCorrelation correlation(a.store, b.store, same_images(80));
  const std::vector<float> r = all_rows(correlation, 1);
  const auto at = [&](size_t i, size_t j) { return r[i * 60 + j]; };
  const float threshold = 0.1F;
  std::vector<LatentPair> mutual, candidates;
  for (size_t i = 0; i < 90; ++i) {
    for (size_t j = 0; j < 60; ++j) {
      if (!(at(i, j) > threshold)) continue;
      const LatentPair pair{static_cast<int32_t>(i), static_cast<int32_t>(j), at(i, j)};
      candidates.push_back(pair);
      bool best = true;  // ties to the lower number
      for (size_t m = 0; m < 60; ++m)
        best = best && (at(i, m) < at(i, j) || (at(i, m) == at(i, j) && m >= j));
      for (size_t m = 0; m < 90; ++m)
        best = best && (at(m, j) < at(i, j) || (at(m, j) == at(i, j) && m >= i));
      if (best) mutual.push_back(pair);
    }
  }
  REQUIRE(mutual.size() > 5);
  const std::vector<LatentPair> watched{{3, 7, 0}, {88, 0, 0}};
  for (const int threads : {1, 3}) {
    const PairSearch found = find_pairs(correlation, threads, static_cast<double>(threshold), watched);
    CHECK(found.mutual == mutual);
    CHECK(found.candidates == candidates);
    CHECK(found.watched == std::vector<float>{at(3, 7), at(88, 0)});
  }
  CHECK(find_pairs(correlation, 1, std::nan("")).mutual.empty());
}

TEST_CASE("one-to-one: the largest total of all pairings, latents may stay alone") {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    Random random(seed, 9);
    const auto rows = static_cast<size_t>(1 + random.below(6)),
               columns = static_cast<size_t>(1 + random.below(6));
    std::vector<std::vector<double>> r(rows, std::vector<double>(columns));
    std::vector<LatentPair> candidates;
    for (size_t i = 0; i < rows; ++i) {
      for (size_t j = 0; j < columns; ++j) {
        if (random.uniform() < 0.3) continue;  // no candidate
        auto value = static_cast<float>(random.normal() + 0.5);
        if (seed % 3 == 0) value = std::round(value);  // ties
        r[i][j] = static_cast<double>(value);
        candidates.push_back({static_cast<int32_t>(i), static_cast<int32_t>(j), value});
      }
    }
    std::ranges::reverse(candidates);
    const auto pairs = one_to_one(candidates, static_cast<int64_t>(rows), static_cast<int64_t>(columns));
    double total = 0;
    std::vector<int32_t> used;
    for (const LatentPair& pair : pairs) {
      total += static_cast<double>(pair.similarity);
      CHECK(std::ranges::count(candidates, pair) == 1);
      used.push_back(pair.b);
    }
    std::vector<bool> free(columns);
    CAPTURE(seed);
    CHECK(total == doctest::Approx(best_total(r, 0, free)).epsilon(1e-6));
    std::ranges::sort(used);
    CHECK(std::ranges::adjacent_find(used) == used.end());
    CHECK(std::ranges::adjacent_find(pairs, {}, &LatentPair::a) == pairs.end());
  }
  const std::vector<LatentPair> beyond{{0, 5, 1}}, nan{{0, 0, std::nanf("")}};
  CHECK_THROWS_AS(one_to_one(beyond, 1, 5), InputError);
  CHECK_THROWS_AS(one_to_one(nan, 1, 1), InputError);
}

TEST_CASE("one-to-one: thousands of latents that compete") {
  constexpr int32_t kLatents = 3000;
  std::vector<LatentPair> candidates;
  Random random(8, 0);
  for (int32_t i = 0; i < kLatents; ++i) {
    for (int32_t e = 0; e < 40; ++e) {
      const auto j = static_cast<int32_t>(random.below(kLatents));
      candidates.push_back({i, j, static_cast<float>(0.5 * random.uniform())});
    }
    candidates.push_back({i, (i * 7) % kLatents, 0.9F});  // planted: 7 and 3000 have no common divisor
  }
  const auto pairs = one_to_one(candidates, kLatents, kLatents);
  REQUIRE(pairs.size() == kLatents);
  for (const LatentPair& pair : pairs) CHECK(pair.b == (pair.a * 7) % kLatents);
}
