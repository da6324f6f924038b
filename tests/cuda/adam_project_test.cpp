#include "cuda/sae/adam_project.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <tuple>

#include "tests/cuda/gradient_fixture.h"

using namespace branchsae::cuda;
using namespace branchsae::cuda::test;

namespace {

using Scheme = GradientOptions::Scheme;

void set_adam(SaeBatch& batch, int64_t step, float epsilon = 1e-8F) {
  batch.beta1 = 0.9F, batch.beta2 = 0.999F, batch.epsilon = epsilon, batch.adam_step = step;
  batch.step_size = static_cast<float>(0.01 / (1 - std::pow(0.9, static_cast<double>(step))));
  batch.square_correction = static_cast<float>(1 / (1 - std::pow(0.999, static_cast<double>(step))));
}

// A matrix or vector with its moments, updated as the kernels should, operation by operation.
struct Parameter {
  std::vector<float> w, m, v;

  explicit Parameter(const std::vector<float>& values) : w(values), m(values.size()), v(values.size()) {}
  void apply(const SaeBatch& batch, const std::vector<double>& gradient) {
    for (size_t i = 0; i < w.size(); ++i) {
      const auto g = static_cast<float>(gradient[i]);
      m[i] = std::fma(batch.beta1, m[i], (1.0F - batch.beta1) * g);
      v[i] = std::fma(batch.beta2, v[i], (1.0F - batch.beta2) * g * g);
      const float divisor = std::sqrt(v[i] * batch.square_correction) + batch.epsilon;
      w[i] -= batch.step_size * m[i] / std::max(divisor, std::numeric_limits<float>::min());
    }
  }
};

struct Model {
  Parameter w, w_dec, b_enc, b_pre;

  explicit Model(const GradientData& data)
      : w(data.w), w_dec(data.w_dec), b_enc(data.b_enc), b_pre(data.b_pre) {}
  void apply(const SaeBatch& batch, const ExpectedGradient& gradient) {
    w.apply(batch, gradient.w);
    w_dec.apply(batch, gradient.w_dec);
    b_enc.apply(batch, gradient.b_enc);
    b_pre.apply(batch, gradient.b_pre);
  }
};

std::vector<uint16_t> read_rows_16(const DeviceGradient& device, const Bf16* rows) {
  const SaeDesc& sae = device.sae;
  const auto all = device.read(reinterpret_cast<const uint16_t*>(rows), int64_t{sae.n} * sae.d_padded);
  std::vector<uint16_t> result;
  for (int64_t i = 0; i < sae.n; ++i)
    result.insert(result.end(), all.begin() + i * sae.d_padded, all.begin() + i * sae.d_padded + sae.d);
  return result;
}

std::vector<uint16_t> rounded(const std::vector<float>& values) {
  std::vector<uint16_t> bits;
  for (const float value : values) bits.push_back(bf16_bits(value));
  return bits;
}

auto everything(const DeviceGradient& device) {
  const SaeDesc& sae = device.sae;
  const int64_t decoder_rows = sae.tied != 0 ? 0 : sae.n;
  return std::tuple{device.read_rows(sae.w, sae.n),
                    device.read_rows(sae.m_w, sae.n),
                    device.read_rows(sae.v_w, sae.n),
                    device.read_rows(sae.w_dec, decoder_rows),
                    device.read_rows(sae.m_w_dec, decoder_rows),
                    device.read_rows(sae.v_w_dec, decoder_rows),
                    device.read(sae.b_enc, sae.n),
                    device.read(sae.m_b_enc, sae.n),
                    device.read(sae.v_b_enc, sae.n),
                    device.read_rows(sae.b_pre, 1),
                    device.read_rows(sae.m_b_pre, 1),
                    device.read_rows(sae.v_b_pre, 1),
                    device.read(sae.last_fired, sae.n)};
}

auto everything(const Model& model, const std::vector<int64_t>& last_fired) {
  return std::tuple{model.w.w,     model.w.m,     model.w.v,     model.w_dec.w, model.w_dec.m,
                    model.w_dec.v, model.b_enc.w, model.b_enc.m, model.b_enc.v, model.b_pre.w,
                    model.b_pre.m, model.b_pre.v, last_fired};
}

// The first step's gradient is exact on integers; so every bit after it is known.
void check_first_step(const GradientCase& c, const GradientData& made) {
  INFO("d ", c.d, " n ", c.n, " rows ", c.rows, " dw_rows ", c.options.dw_rows, c.tied ? "" : " untied");
  GradientData data = made;
  set_adam(data.batch, 1);
  const ExpectedGradient gradient = expected_gradient(c, data);
  Model model(data);
  model.apply(data.batch, gradient);
  std::vector<int64_t> last_fired(static_cast<size_t>(c.n));
  for (const int32_t latent : data.main.indices) {
    if (latent >= 0) last_fired[static_cast<size_t>(latent)] = 1000 + c.rows;
  }
  std::vector<uint16_t> w16, w16_dec;
  const auto result = in_every_order([&] {
    DeviceGradient device(c, data);
    SaeState state = device.state();
    state.tokens_seen = 1000;
    device.set_state(state);
    device.step();
    CHECK(device.state().tokens_seen == 1000 + c.rows);
    if (c.precision == Precision::kBf16) {
      w16 = read_rows_16(device, device.sae.w16);
      w16_dec = read_rows_16(device, device.sae.w16_dec);
    }
    return everything(device);
  });
  CHECK(result == everything(model, last_fired));
  if (c.precision != Precision::kBf16) return;
  CHECK(w16 == rounded(model.w.w));
  CHECK(w16_dec == rounded(c.tied ? model.w.w : model.w_dec.w));
}

double squares(const std::vector<float>& rows, int64_t row, int64_t d) {
  double sum = 0;
  for (int64_t j = 0; j < d; ++j) {
    const auto value = static_cast<double>(rows[static_cast<size_t>(row * d + j)]);
    sum += value * value;
  }
  return sum;
}

}  // namespace

TEST_CASE("adam_project: a step on integers, bit for bit") {
  for (const GradientOptions& options : {GradientOptions{.scheme = Scheme::kGather},
                                         GradientOptions{.scheme = Scheme::kTile, .dw_rows = 256}}) {
    for (const bool tied : {true, false}) {
      for (const Precision precision : {Precision::kF32, Precision::kBf16}) {
        for (const int32_t d : {48, 528}) {
          const GradientCase c{
              .d = d, .n = 70, .k = 8, .rows = 90, .tied = tied, .precision = precision, .options = options};
          check_first_step(c, integer_data(c, 1));
        }
      }
    }
    const GradientCase c{.d = 8, .n = 40, .k = 32, .rows = 600, .max_batch = 700, .options = options};
    check_first_step(c, integer_data(c, 2));
  }
}

TEST_CASE("adam_project: more groups than a warp has lanes") {
  const GradientCase c{.d = 8,
                       .n = 20,
                       .k = 1,
                       .rows = 256 * 32 + 3,
                       .max_batch = 256 * 33,
                       .aux_k = 1,
                       .options = {.scheme = Scheme::kTile, .dw_rows = 256}};
  check_first_step(c, integer_data(c, 3));
}

TEST_CASE("adam_project: AuxK trains dead latents but does not revive them in last_fired") {
  const GradientCase c{.d = 48, .n = 96, .k = 2, .rows = 20, .aux_k = 32};
  const GradientData data = integer_data(c, 4);
  check_first_step(c, data);
}

TEST_CASE("adam_project: with epsilon 0 latents without gradient stay") {
  const GradientCase c{.d = 48, .n = 96, .k = 2, .rows = 10};
  GradientData data = integer_data(c, 5);
  set_adam(data.batch, 1, 0.0F);
  DeviceGradient device(c, data);
  device.step();
  const auto w = device.read_rows(device.sae.w, c.n);
  std::vector<bool> chosen(static_cast<size_t>(c.n));
  for (const int32_t latent : data.main.indices) {
    if (latent >= 0) chosen[static_cast<size_t>(latent)] = true;
  }
  for (size_t i = 0; i < w.size(); ++i) {
    CHECK(std::isfinite(w[i]));
    if (!chosen[i / 48]) CHECK(w[i] == data.w[i]);
  }
}

TEST_CASE("adam_project: unit rows stay so, and the gradient along them is dropped") {
  for (const bool tied : {true, false}) {
    const GradientCase c{.d = 48, .n = 70, .k = 8, .rows = 60, .tied = tied, .unit_norm = true};
    GradientData data = integer_data(c, 6);
    set_adam(data.batch, 1);
    std::vector<float>& unit = tied ? data.w : data.w_dec;
    for (int64_t i = 0; i < c.n; ++i) {
      const auto norm = static_cast<float>(std::sqrt(squares(unit, i, c.d)));
      for (int64_t j = 0; j < c.d; ++j) unit[static_cast<size_t>(i * c.d + j)] /= norm;
    }
    ExpectedGradient gradient = expected_gradient(c, data);
    std::vector<double>& projected = tied ? gradient.w : gradient.w_dec;
    for (size_t i = 0; i < static_cast<size_t>(c.n); ++i) {
      double along = 0;
      for (size_t j = 0; j < 48; ++j) along += projected[i * 48 + j] * static_cast<double>(unit[i * 48 + j]);
      for (size_t j = 0; j < 48; ++j) projected[i * 48 + j] -= along * static_cast<double>(unit[i * 48 + j]);
    }
    DeviceGradient device(c, data);
    device.step();
    const auto rows = device.read_rows(device.sae.w_dec, c.n);
    const auto moments = device.read_rows(tied ? device.sae.m_w : device.sae.m_w_dec, c.n);
    double error = 0, norm = 0;
    for (size_t i = 0; i < moments.size(); ++i) {
      error += std::pow(static_cast<double>(moments[i]) - 0.1 * projected[i], 2);
      norm += std::pow(0.1 * projected[i], 2);
    }
    CHECK(std::sqrt(error / norm) < 1e-5);  // single-precision sums of some hundred terms
    for (int64_t i = 0; i < c.n; ++i) CHECK(squares(rows, i, c.d) == doctest::Approx(1).epsilon(1e-6));
    if (!tied) {
      Parameter encoder(data.w);
      encoder.apply(data.batch, gradient.w);
      // Rows of the encoder are free; their gradient has rounding of single-precision sums.
      const auto w = device.read_rows(device.sae.w, c.n);
      for (size_t i = 0; i < w.size(); ++i) CHECK(w[i] == doctest::Approx(encoder.w[i]).epsilon(1e-4));
    }
  }
}

TEST_CASE("adam_project: nothing changes from a bad step on, or when only the error is asked for") {
  const GradientCase c{.d = 48, .n = 96, .k = 8, .rows = 40};
  GradientData good = integer_data(c, 7);
  set_adam(good.batch, 1);
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 3e38F}) {
    DeviceGradient device(c, good);
    device.step();
    const auto before = everything(device);
    const SaeState state = device.state();
    CHECK(state.bad_step == 0);
    GradientData wrong = good;
    set_adam(wrong.batch, 2);
    wrong.x[100] = bad;
    device.upload_batch(wrong);
    device.step();
    CHECK(same_bits(everything(device), before));
    CHECK(device.state().bad_step == 2);
    CHECK(device.state().flags == (std::isnan(bad) ? kSawNan : kSawInf));
    CHECK(device.state().tokens == state.tokens);
    set_adam(good.batch, 3);
    device.upload_batch(good);
    device.step();
    CHECK(same_bits(everything(device), before));
    CHECK(device.state().bad_step == 2);
    set_adam(good.batch, 1);
  }
  GradientData only_error = good;
  only_error.batch.error_only = 1;
  DeviceGradient device(c, only_error);
  const auto before = everything(device);
  device.step();
  CHECK(same_bits(everything(device), before));
  CHECK(device.state().tokens_seen == 0);
  CHECK(device.read(device.sae.step_sums, 1).front().squared_error ==
        expected_gradient(c, only_error).squared_error);
}

TEST_CASE("adam_project: flags that encode_topk set stop the step too") {
  const GradientCase c{.d = 48, .n = 96, .k = 8, .rows = 40};
  GradientData data = integer_data(c, 8);
  set_adam(data.batch, 5);
  DeviceGradient device(c, data);
  SaeState state = device.state();
  state.flags = kSawInf;
  device.set_state(state);
  const auto before = everything(device);
  device.step();
  CHECK(same_bits(everything(device), before));
  CHECK(device.state().bad_step == 5);
}

TEST_CASE("finish_step: totals over steps") {
  const GradientCase c{.d = 112, .n = 96, .k = 8, .rows = 75, .max_batch = 200, .aux_k = 8};
  GradientData data = integer_data(c, 9);
  set_adam(data.batch, 1);
  const ExpectedGradient expected = expected_gradient(c, data);
  double variance = 0;
  for (size_t j = 0; j < 112; ++j) {
    double mean = 0;
    for (size_t t = 0; t < 75; ++t) mean += static_cast<double>(data.x[t * 112 + j]) / 75;
    for (size_t t = 0; t < 75; ++t) variance += std::pow(static_cast<double>(data.x[t * 112 + j]) - mean, 2);
  }
  DeviceGradient device(c, data);
  device.step();
  const SaeState first = device.state();
  CHECK(first.tokens == 75);
  CHECK(first.tokens_seen == 75);
  CHECK(first.squared_error == expected.squared_error);
  CHECK(first.aux_error == expected.aux_error);
  CHECK(first.active == expected.active);
  CHECK(first.total_variance == doctest::Approx(variance).epsilon(1e-12));
  const std::vector<float> updated = device.read_rows(device.sae.w, c.n);
  set_adam(data.batch, 2);
  device.upload_batch(data);
  device.step();
  const SaeState second = device.state();
  CHECK(second.tokens == 150);
  CHECK(second.active == 2 * expected.active);
  CHECK(second.total_variance == doctest::Approx(2 * variance).epsilon(1e-12));
  data.w = updated;
  // Single-precision residuals of real numbers.
  CHECK(second.squared_error - first.squared_error ==
        doctest::Approx(expected_gradient(c, data).squared_error).epsilon(1e-5));
}
