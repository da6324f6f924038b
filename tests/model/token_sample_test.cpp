#include "model/token_sample.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "engine/error.h"

using namespace branchsae;
using namespace branchsae::model;

namespace {

/// Probability that the first draws, in any order, are exactly `chosen`: the sum over orders of the product
/// of w / (what is left), by recursion.
double probability(std::vector<double> weights, std::set<size_t> chosen) {
  if (chosen.empty()) return 1;
  double left = 0, sum = 0;
  for (const double weight : weights) left += weight;
  for (const size_t first : chosen) {
    std::vector<double> rest = weights;
    std::set<size_t> others = chosen;
    rest[first] = 0;
    others.erase(first);
    sum += weights[first] / left * probability(rest, others);
  }
  return sum;
}

/// Pearson's statistic of counts against probabilities.
double chi_square(const std::vector<int>& counts, const std::vector<double>& probabilities, int draws) {
  double sum = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    const double expected = probabilities[i] * draws;
    sum += (counts[i] - expected) * (counts[i] - expected) / expected;
  }
  return sum;
}

const std::vector<float> kNorms{0.5F, 4, 1, 2.5F, 2};

}  // namespace

TEST_CASE("sampled positions differ between epochs and images, and lie in the image") {
  const auto first = sample_positions(5, 16, 1, 0, 3);
  CHECK(first.size() == 5);
  CHECK(std::set(first.begin(), first.end()).size() == 5);
  CHECK(first.back() < 16);
  CHECK(first == sample_positions(5, 16, 1, 0, 3));
  CHECK(first != sample_positions(5, 16, 1, 1, 3));
  CHECK(first != sample_positions(5, 16, 1, 0, 4));
  CHECK(first != sample_positions(5, 16, 2, 0, 3));
  CHECK(sample_positions(16, 16, 1, 0, 0).back() == 15);
  std::vector<int> drawn(16, 0);
  for (int64_t image = 0; image < 1600; ++image) {
    for (int32_t position : sample_positions(4, 16, 9, 0, image)) ++drawn[static_cast<size_t>(position)];
  }
  // Each position is drawn with probability 1/4: 400 of 1600, standard deviation 17.3; 5 of them.
  for (int count : drawn) CHECK(std::abs(count - 400) < 87);
}

TEST_CASE("one position is drawn with the probability of its norm's share") {
  std::vector<int> counts(kNorms.size());
  std::vector<double> shares;
  for (const float norm : kNorms) shares.push_back(static_cast<double>(norm) / 10);
  constexpr int kDraws = 20'000;
  for (int64_t image = 0; image < kDraws; ++image) {
    ++counts[static_cast<size_t>(sample_by_norm(1, kNorms, 5, image % 7, image)[0])];
  }
  // 4 degrees of freedom: above 23.5 with probability 1e-4. Uniform draws come to 7,000.
  CHECK(chi_square(counts, shares, kDraws) < 23.5);
  CHECK(chi_square(counts, std::vector<double>(5, 0.2), kDraws) > 1000);
}

TEST_CASE("several are drawn without replacement, each in proportion to what is left") {
  const std::vector<double> weights(kNorms.begin(), kNorms.end());
  std::vector<std::set<size_t>> pairs;
  std::vector<double> probabilities;
  for (size_t i = 0; i < 5; ++i) {
    for (size_t j = i + 1; j < 5; ++j) {
      pairs.push_back({i, j});
      probabilities.push_back(probability(weights, {i, j}));
    }
  }
  constexpr int kDraws = 40'000;
  std::vector<int> counts(pairs.size());
  for (int64_t image = 0; image < kDraws; ++image) {
    const auto drawn = sample_by_norm(2, kNorms, 6, 3, image);
    REQUIRE(drawn.size() == 2);
    REQUIRE(drawn[0] < drawn[1]);
    const std::set<size_t> pair{static_cast<size_t>(drawn[0]), static_cast<size_t>(drawn[1])};
    ++counts[static_cast<size_t>(std::ranges::find(pairs, pair) - pairs.begin())];
  }
  // 9 degrees of freedom: above 33.7 with probability 1e-4.
  CHECK(chi_square(counts, probabilities, kDraws) < 33.7);
}

TEST_CASE("draws by norm depend on seed, epoch and image alone") {
  std::vector<float> norms;
  for (int i = 0; i < 49; ++i) norms.push_back(1 + static_cast<float>(i % 5));
  const auto first = sample_by_norm(8, norms, 1, 2, 3);
  CHECK(first == sample_by_norm(8, norms, 1, 2, 3));
  CHECK(first != sample_by_norm(8, norms, 2, 2, 3));
  CHECK(first != sample_by_norm(8, norms, 1, 3, 3));
  CHECK(first != sample_by_norm(8, norms, 1, 2, 4));
  CHECK(sample_by_norm(49, norms, 1, 2, 3).back() == 48);
  CHECK(std::set(first.begin(), first.end()).size() == 8);
}

TEST_CASE("zero vectors come last, evenly, and what is not finite comes first") {
  const std::vector<float> norms{0, 3, 0, 1, 0, 0};
  std::vector<int> zeros(6);
  for (int64_t image = 0; image < 4000; ++image) {
    const auto drawn = sample_by_norm(3, norms, 1, 0, image);
    CHECK(std::ranges::count(drawn, 1) == 1);
    CHECK(std::ranges::count(drawn, 3) == 1);
    for (const int32_t position : drawn)
      zeros[static_cast<size_t>(position)] += norms[static_cast<size_t>(position)] == 0;
  }
  // Each of the four zeros is drawn 1,000 times of 4,000, standard deviation 27; 5 of them.
  for (const size_t zero : {size_t{0}, size_t{2}, size_t{4}, size_t{5}})
    CHECK(std::abs(zeros[zero] - 1000) < 137);
  const float nan = std::nanf(""), inf = std::numeric_limits<float>::infinity();
  for (int64_t image = 0; image < 50; ++image) {
    CHECK(sample_by_norm(2, std::vector<float>{1e30F, nan, 5, inf}, 1, 0, image) ==
          std::vector<int32_t>{1, 3});
  }
  CHECK(sample_by_norm(2, std::vector<float>{0, 0}, 1, 0, 0) == std::vector<int32_t>{0, 1});
}

TEST_CASE("norms are those of strided tokens") {
  const std::vector<float> values{3, 4, -1, 0, 0, -1, 1e30F, 0, -1};
  std::vector<float> norms(3);
  token_norms(View<const float, 2>(values.data(), {3, 2}, {3, 1}), norms.data());
  CHECK(norms == std::vector<float>{5, 0, 1e30F});
  CHECK(parse_token_sampling(to_string(TokenSampling::kNorm)) == TokenSampling::kNorm);
  CHECK_THROWS_AS(parse_token_sampling("length"), InputError);
}
