#include "model/sae_start.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "engine/error.h"
#include "engine/random.h"
#include "model/geometric_median.h"

using namespace branchsae;

namespace {

HostTensor tokens_of(int64_t rows, int64_t d, uint64_t seed) {
  HostTensor tokens({rows, d});
  Random random(seed, 0);
  for (float& value : tokens.values()) value = static_cast<float>(3 + random.normal());
  return tokens;
}

double sum_of_distances(View<const float, 2> tokens, const std::vector<double>& point) {
  double sum = 0;
  for (int64_t t = 0; t < tokens.shape[0]; ++t) {
    double squared = 0;
    for (size_t c = 0; c < point.size(); ++c) {
      squared += std::pow(tokens(t, static_cast<int64_t>(c)) - point[c], 2);
    }
    sum += std::sqrt(squared);
  }
  return sum;
}

}  // namespace

TEST_CASE("scaled tokens have mean square 1 per channel") {
  const HostTensor tokens = tokens_of(500, 7, 1);
  const double scale = start_scale(tokens.matrix());
  double squares = 0;
  for (float value : tokens.values()) squares += std::pow(scale * value, 2);
  CHECK(squares / 3500 == doctest::Approx(1).epsilon(1e-6));  // the scale is stored as float32
  CHECK(scale == static_cast<float>(scale));
}

TEST_CASE("tokens that are all zero keep their scale, those that are not finite are refused") {
  const HostTensor zeros({4, 3});
  CHECK(start_scale(zeros.matrix()) == 1);
  for (float wrong : {std::nanf(""), INFINITY, -INFINITY}) {
    HostTensor tokens = tokens_of(10, 3, 1);
    tokens[17] = wrong;
    CHECK_THROWS_AS(start_scale(tokens.matrix()), NumericError);
  }
}

TEST_CASE("the centre is in scaled units") {
  const HostTensor tokens({4, 2}, std::vector<float>{1, 10, 2, 20, 3, 30, 4, 40});
  const HostTensor mean = start_centre(tokens.matrix(), 0.5, CentreStart::kMean);
  CHECK(mean[0] == doctest::Approx(1.25));
  CHECK(mean[1] == doctest::Approx(12.5));
  // On a line the geometric median is the median: here anything between the second and third token; the
  // distances add up to the same, so only the sum can be checked.
  const std::vector<double> median = geometric_median(tokens.matrix());
  CHECK(sum_of_distances(tokens.matrix(), median) ==
        doctest::Approx(sum_of_distances(tokens.matrix(), {2.5, 25})).epsilon(1e-6));
}

TEST_CASE("the geometric median ignores an outlier, the mean does not") {
  HostTensor tokens({101, 2});
  Random random(5, 0);
  for (float& value : tokens.values()) value = static_cast<float>(random.normal());
  tokens[200] = 1e6F;
  const std::vector<double> median = geometric_median(tokens.matrix());
  CHECK(std::abs(median[0]) < 0.5);  // about 5 standard errors of 0.1
  const HostTensor mean = start_centre(tokens.matrix(), 1, CentreStart::kMean);
  CHECK(mean[0] > 1000);
}

TEST_CASE("no step in any direction shortens the way from the geometric median") {
  const HostTensor tokens = tokens_of(200, 5, 3);
  const std::vector<double> median = geometric_median(tokens.matrix());
  const double least = sum_of_distances(tokens.matrix(), median);
  for (size_t c = 0; c < median.size(); ++c) {
    for (double step : {-1e-2, 1e-2}) {
      std::vector<double> moved = median;
      moved[c] += step;
      CHECK(sum_of_distances(tokens.matrix(), moved) > least);
    }
  }
}

TEST_CASE("the geometric median stands on a token that holds it, and on equal tokens") {
  // Three tokens at the origin outweigh two elsewhere; the mean, where the iteration starts, is not there.
  const HostTensor held({5, 2}, std::vector<float>{0, 0, 0, 0, 0, 0, 4, 0, 0, 4});
  const std::vector<double> median = geometric_median(held.matrix());
  CHECK(std::hypot(median[0], median[1]) < 1e-3);  // convergence onto a token is slow; the mean is 1.13 away
  const HostTensor equal({3, 2}, std::vector<float>{1, 2, 1, 2, 1, 2});
  CHECK(geometric_median(equal.matrix()) == std::vector<double>{1, 2});
}

TEST_CASE("directions have norm 1, no preferred axis, and depend on seed and stream") {
  const HostTensor rows = random_directions(4000, 3, 1, 2);
  std::vector<double> mean(3, 0.0), squares(3, 0.0);
  for (int64_t i = 0; i < 4000; ++i) {
    const float* row = rows.matrix().row(i);
    CHECK(std::hypot(row[0], row[1], row[2]) == doctest::Approx(1).epsilon(1e-6));
    for (size_t c = 0; c < 3; ++c) {
      mean[c] += row[c] / 4000;
      squares[c] += static_cast<double>(row[c]) * row[c] / 4000;
    }
  }
  for (size_t c = 0; c < 3; ++c) {
    CHECK(std::abs(mean[c]) < 0.05);               // 5.5 standard errors: 0.577 / sqrt(4000)
    CHECK(std::abs(squares[c] - 1.0 / 3) < 0.03);  // 6 standard errors: 0.298 / sqrt(4000)
  }
  CHECK(std::ranges::equal(rows.values(), random_directions(4000, 3, 1, 2).values()));
  CHECK_FALSE(std::ranges::equal(rows.values(), random_directions(4000, 3, 1, 3).values()));
  CHECK_FALSE(std::ranges::equal(rows.values(), random_directions(4000, 3, 2, 2).values()));
}

TEST_CASE("starting parameters") {
  const HostTensor directions = random_directions(6, 4, 1, 1);
  const HostTensor centre({4}, std::vector<float>{1, 2, 3, 4});
  const SaeParameters tied = start_parameters(directions, 0.3, centre, 2, true);
  CHECK(tied.w[5] == doctest::Approx(0.3 * directions[5]));
  CHECK(tied.w_dec.empty());
  CHECK(tied.scale == 2);
  CHECK(std::ranges::all_of(tied.b_enc.values(), [](float b) { return b == 0; }));
  CHECK(std::ranges::equal(tied.b_pre.values(), centre.values()));
  const SaeParameters untied = start_parameters(directions, 0.3, centre, 2, false);
  CHECK(std::ranges::equal(untied.w_dec.values(), untied.w.values()));
}
