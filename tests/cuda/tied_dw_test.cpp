#include "cuda/sae/tied_dw.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <tuple>

#include "tests/cuda/gradient_fixture.h"

using namespace branchsae::cuda;
using namespace branchsae::cuda::test;

namespace {

using Scheme = GradientOptions::Scheme;

std::vector<GradientOptions> schemes() {
  return {{.scheme = Scheme::kGather},
          {.scheme = Scheme::kTile, .dw_rows = 256},
          {.scheme = Scheme::kTile, .dw_rows = 512}};
}

std::vector<double> widened(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

bool exact(const std::vector<double>& sums) {
  return std::all_of(sums.begin(), sums.end(), [](double value) { return std::fabs(value) < 1 << 20; });
}

// From selection to the raw gradients of all parameters.
void check_case(const GradientCase& c, const GradientData& data) {
  INFO("d ", c.d, " n ", c.n, " k ", c.k, " rows ", c.rows, " aux ", c.aux_k, " dw_rows ", c.options.dw_rows,
       " ", c.precision == Precision::kBf16 ? "bf16" : "f32", c.tied ? "" : " untied");
  const ExpectedGradient expected = expected_gradient(c, data);
  REQUIRE(exact(expected.w));
  REQUIRE(exact(expected.b_pre));
  DeviceGradient::Gradients result;
  in_every_order([&] {
    DeviceGradient device(c, data);
    result = device.gradients();
    return std::tuple{result.w, result.w_dec, result.b_enc, result.b_pre};
  });
  CHECK(widened(result.w) == expected.w);
  CHECK(widened(result.w_dec) == expected.w_dec);
  CHECK(widened(result.b_enc) == expected.b_enc);
  CHECK(widened(result.b_pre) == expected.b_pre);
}

}  // namespace

TEST_CASE("tied_dw: every width in either scheme, bit for bit on integers") {
  for (const GradientOptions& options : {schemes()[0], schemes()[1]}) {
    for (const int32_t d : {48, 64, 112, 128, 256, 512, 528, 832}) {
      for (const Precision precision : {Precision::kF32, Precision::kBf16}) {
        // Slices are independent: with float a few of them show as much.
        if (precision == Precision::kF32 && d > 128) continue;
        const GradientCase c{
            .d = d, .n = 70, .k = 8, .rows = 60, .max_batch = 64, .precision = precision, .options = options};
        check_case(c, integer_data(c, 1));
      }
    }
  }
}

TEST_CASE("tied_dw: several groups and cuts, ragged, tied and untied") {
  for (const GradientOptions& options : schemes()) {
    for (const bool tied : {true, false}) {
      for (const Precision precision : {Precision::kF32, Precision::kBf16}) {
        const GradientCase c{.d = 48,
                             .n = 200,
                             .k = tied ? 8 : 1,
                             .rows = 530,
                             .max_batch = 800,
                             .tied = tied,
                             .precision = precision,
                             .options = options};
        check_case(c, integer_data(c, 2));
      }
    }
  }
}

TEST_CASE("tied_dw: many slots") {
  for (const GradientOptions& options : schemes()) {
    for (const int32_t k : {32, 64, 100}) {
      const GradientCase c{.d = 20, .n = 130, .k = k, .rows = 70, .max_batch = 70, .options = options};
      check_case(c, integer_data(c, 3));
    }
  }
}

TEST_CASE("tied_dw: a latent of every token, lists over several cuts, and empty ones") {
  for (const GradientOptions& options : schemes()) {
    for (const bool tied : {true, false}) {
      const GradientCase c{.d = 16,
                           .n = 500,
                           .k = 2,
                           .rows = 600,
                           .max_batch = 600,
                           .tied = tied,
                           .precision = Precision::kBf16,
                           .options = options};
      GradientData data = integer_data(c, 4);
      for (size_t t = 0; t < 600; ++t) {
        data.main.indices[2 * t] = 3;
        data.main.indices[2 * t + 1] = static_cast<int32_t>(t < 400 ? 40 : 41 + t % 3);
        data.main.values[2 * t] = data.main.values[2 * t + 1] = 1;
      }
      check_case(c, data);
    }
  }
}

TEST_CASE("tied_dw: no token has a positive latent") {
  for (const GradientOptions& options : schemes()) {
    const GradientCase c{.d = 48, .n = 96, .k = 32, .rows = 40, .options = options};
    check_case(c, integer_data(c, 5, 0.0));
  }
}

TEST_CASE("tied_dw: AuxK's pairs add to the same rows") {
  for (const GradientOptions& options : schemes()) {
    for (const bool tied : {true, false}) {
      const GradientCase c{.d = 48,
                           .n = 96,
                           .k = 16,
                           .rows = 300,
                           .max_batch = 300,
                           .tied = tied,
                           .aux_k = 24,
                           .precision = Precision::kBf16,
                           .options = options};
      check_case(c, integer_data(c, 6));
    }
    const GradientCase c{.d = 48, .n = 96, .k = 16, .rows = 50, .aux_k = 24, .options = options};
    GradientData data = integer_data(c, 7);
    data.dead_count = 0;
    check_case(c, data);
  }
}

TEST_CASE("tied_dw: a scheme of its own for every device") {
  const auto rows = [](int32_t d, int32_t n, int32_t batch, int64_t smem_bytes, Precision precision) {
    SaeDesc sae{};
    sae.d = d, sae.d_padded = (d + 15) / 16 * 16, sae.slices = (d + 31) / 32;
    sae.n = sae.n_padded = n, sae.k = 32, sae.max_batch = sae.rows_padded = batch, sae.tied = 1;
    sae.precision = precision;
    plan_gradient_sizes(sae, {.smem_bytes = smem_bytes, .multiprocessors = 132});
    return sae.dw_rows;
  };
  constexpr int64_t kH100 = 232'448, kA100 = 166'912, kAda = 101'376;
  CHECK(rows(128, 2048, 65'536, kH100, Precision::kBf16) == 1792);
  CHECK(rows(128, 2048, 65'536, kA100, Precision::kBf16) == 1280);
  CHECK(rows(128, 2048, 65'536, kAda, Precision::kBf16) == 768);
  CHECK(rows(128, 2048, 65'536, kH100, Precision::kF32) == 768);
  CHECK(rows(64, 1024, 16'384, kH100, Precision::kBf16) == 256);   // rather more blocks than longer groups
  CHECK(rows(128, 2048, 4096, kH100, Precision::kBf16) == 0);      // too few pairs for a partial row
  CHECK(rows(768, 32'768, 16'384, kH100, Precision::kBf16) == 0);  // partial rows would cost more than L2
}
