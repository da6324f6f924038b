#include "cuda/sae/decode_grad.h"

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <tuple>

#include "tests/cuda/gradient_fixture.h"

using namespace branchsae::cuda;
using namespace branchsae::cuda::test;

namespace {

std::string name(const GradientCase& c) {
  return "d " + std::to_string(c.d) + " k " + std::to_string(c.k) + " rows " + std::to_string(c.rows) +
         " aux " + std::to_string(c.aux_k) + (c.precision == Precision::kBf16 ? " bf16" : " f32") +
         (c.tied ? "" : " untied");
}

struct Decoded {
  std::vector<float> e, x, aux_e, g, aux_g, error_sums;
  std::vector<double> squared_error, aux_error;
  std::vector<int64_t> active;
};

Decoded decoded(const GradientCase& c, const GradientData& data) {
  DeviceGradient device(c, data);
  device.decode();
  Decoded result;
  const auto append = [](std::vector<float>& to, const std::vector<float>& from) {
    to.insert(to.end(), from.begin(), from.end());
  };
  for (int64_t t = 0; t < c.rows; ++t) {
    append(result.e, device.read_ex(t, 0));
    append(result.x, device.read_ex(t, 1));
  }
  result.g = device.read(device.sae.pair_g, int64_t{c.rows} * c.k);
  if (c.aux_k > 0 && data.dead_count > 0) {
    for (int64_t t = 0; t < c.rows; ++t) append(result.aux_e, device.read_ex(device.sae.rows_padded + t, 0));
    for (int64_t t = 0; t < c.rows; ++t)
      CHECK(device.read_ex(device.sae.rows_padded + t, 1) == device.read_ex(t, 1));
    result.aux_g = device.read(device.sae.aux_pair_g, int64_t{c.rows} * c.aux_k);
  }
  const int64_t tiles = (c.rows + kSumRows - 1) / kSumRows;
  result.error_sums = device.read_rows(device.sae.tile_error_sums, tiles);
  for (const TileSums& sums : device.read(device.sae.tile_sums, tiles)) {
    result.squared_error.push_back(sums.squared_error);
    result.aux_error.push_back(sums.aux_error);
    result.active.push_back(sums.active);
  }
  return result;
}

auto bits(const Decoded& r) {
  return std::tuple{r.e, r.x, r.aux_e, r.g, r.aux_g, r.error_sums, r.squared_error, r.aux_error, r.active};
}

template <class T>
T sum(const std::vector<T>& values) {
  T total = 0;
  for (const T value : values) total += value;
  return total;
}

std::vector<double> widened(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

// As ex stores it.
std::vector<float> stored(const GradientCase& c, const std::vector<double>& e) {
  std::vector<float> result(e.begin(), e.end());
  if (c.precision == Precision::kBf16) {
    for (float& value : result) value = round_bf16(value);
  }
  return result;
}

// Unused slots hold what the rows' zeros give.
void check_case(const GradientCase& c, uint64_t seed, double used = 0.9) {
  INFO(name(c));
  const GradientData data = integer_data(c, seed, used);
  const ExpectedGradient expected = expected_gradient(c, data);
  Decoded result;
  in_every_order([&] {
    result = decoded(c, data);
    return bits(result);
  });
  CHECK(result.e == stored(c, expected.e));
  CHECK(result.x == data.x);
  CHECK(widened(result.g) == expected.g);
  CHECK(result.aux_e == stored(c, expected.aux_e));
  CHECK(widened(result.aux_g) == expected.aux_g);
  CHECK(sum(result.squared_error) == expected.squared_error);
  CHECK(sum(result.aux_error) == expected.aux_error);
  CHECK(sum(result.active) == expected.active);
  std::vector<double> error_sums(static_cast<size_t>(c.d)), expected_sums(static_cast<size_t>(c.d));
  for (size_t i = 0; i < result.error_sums.size(); ++i)
    error_sums[i % error_sums.size()] += static_cast<double>(result.error_sums[i]);
  for (size_t i = 0; i < expected.e.size(); ++i) expected_sums[i % expected_sums.size()] += expected.e[i];
  CHECK(error_sums == expected_sums);
}

}  // namespace

TEST_CASE("decode_grad: every width, bit for bit on integers") {
  for (const int32_t d : {16, 48, 64, 112, 128, 256, 512, 528, 832}) {
    for (const Precision precision : {Precision::kF32, Precision::kBf16})
      check_case({.d = d, .n = 80, .k = 32, .rows = 41, .max_batch = 64, .precision = precision}, 1);
  }
}

TEST_CASE("decode_grad: any number of slots and rows") {
  for (const int32_t k : {1, 5, 31, 33, 64, 100}) {
    for (const Precision precision : {Precision::kF32, Precision::kBf16})
      check_case({.d = 112, .n = 130, .k = k, .rows = 65, .max_batch = 200, .precision = precision}, 2);
  }
  check_case({.d = 1100, .n = 40, .k = 8, .rows = 33, .max_batch = 40, .precision = Precision::kBf16}, 3);
  for (const int32_t rows : {1, 31, 32, 33, 128})
    check_case({.d = 7, .n = 40, .k = 8, .rows = rows, .max_batch = 128, .precision = Precision::kBf16}, 3);
}

TEST_CASE("decode_grad: tokens without a positive latent keep r = -x") {
  for (const int32_t k : {32, 64})
    check_case({.d = 48, .n = 80, .k = k, .rows = 40, .max_batch = 40}, 4, 0.0);
}

TEST_CASE("decode_grad: untied weights decode with their own rows") {
  for (const Precision precision : {Precision::kF32, Precision::kBf16})
    check_case({.d = 64, .n = 96, .rows = 50, .tied = false, .precision = precision}, 5);
}

TEST_CASE("decode_grad: AuxK goes on from the main pass's residual") {
  for (const int32_t aux_k : {1, 32, 48, 70}) {
    for (const Precision precision : {Precision::kF32, Precision::kBf16})
      check_case({.d = 112, .n = 96, .rows = 40, .aux_k = aux_k, .precision = precision}, 6);
  }
  check_case({.d = 48, .n = 140, .k = 100, .rows = 40, .aux_k = 120, .precision = Precision::kBf16}, 7);
}

TEST_CASE("decode_grad: without dead latents AuxK is left out") {
  const GradientCase c{.d = 48, .n = 96, .rows = 40, .aux_k = 16};
  GradientData data = integer_data(c, 8);
  data.dead_count = 0;
  const Decoded result = decoded(c, data);
  CHECK(sum(result.aux_error) == 0);
  CHECK(sum(result.squared_error) == expected_gradient(c, data).squared_error);
}

TEST_CASE("decode_grad: real data within rounding") {
  for (const Precision precision : {Precision::kF32, Precision::kBf16}) {
    const GradientCase c{.d = 528, .n = 96, .rows = 40, .precision = precision};
    GradientData data = integer_data(c, 9);
    uint64_t state = 1;
    const auto real = [&](float value) {
      state = state * 6364136223846793005U + 1442695040888963407U;
      const float noisy = 0.1F * value + static_cast<float>(state >> 40) * 1e-8F;
      return precision == Precision::kBf16 ? round_bf16(noisy) : noisy;
    };
    for (float& value : data.x) value = real(value);
    for (float& value : data.w) value = real(value);
    const ExpectedGradient expected = expected_gradient(c, data);
    const Decoded result = decoded(c, data);
    double error = 0, norm = 0;
    for (size_t i = 0; i < expected.g.size(); ++i) {
      error += std::pow(static_cast<double>(result.g[i]) - expected.g[i], 2);
      norm += expected.g[i] * expected.g[i];
    }
    // Single-precision sums of 528 products, inputs equal; ex alone is rounded to bf16.
    CHECK(std::sqrt(error / norm) < 1e-5);
    CHECK(sum(result.squared_error) == doctest::Approx(expected.squared_error).epsilon(1e-5));
  }
}
