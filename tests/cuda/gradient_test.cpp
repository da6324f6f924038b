// The kernels of a step together, on real data, against the autoencoder in double precision.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <tuple>

#include "cuda/sae/workspace.h"
#include "engine/error.h"
#include "engine/random.h"
#include "tests/cuda/gradient_fixture.h"
#include "tests/reference/sae.h"

using namespace branchsae;
using namespace branchsae::cuda;
using namespace branchsae::cuda::test;

namespace {

using Scheme = GradientOptions::Scheme;

SaeSpec spec_of(const GradientCase& c) {
  SaeSpec spec;
  spec.d = c.d, spec.n = c.n, spec.k = c.k, spec.aux_k = c.aux_k, spec.max_batch = c.max_batch;
  spec.tied = c.tied, spec.unit_norm = c.unit_norm;
  return spec;
}

float narrowed(const GradientCase& c, double value) {
  const auto narrow = static_cast<float>(value);
  return c.precision == Precision::kBf16 ? round_bf16(narrow) : narrow;
}

HostTensor random_tensor(const GradientCase& c, Shape shape, double deviation, uint64_t seed) {
  HostTensor tensor(std::move(shape));
  Random random(seed, 1);
  for (float& value : tensor.values()) value = narrowed(c, random.normal() * deviation);
  return tensor;
}

SaeParameters random_parameters(const GradientCase& c) {
  SaeParameters p;
  const double deviation = 0.5 / std::sqrt(static_cast<double>(c.d));
  p.w = random_tensor(c, {c.n, c.d}, deviation, 1);
  if (!c.tied) p.w_dec = random_tensor(c, {c.n, c.d}, deviation, 2);
  p.b_enc = random_tensor(c, {c.n}, 0.05, 3);
  p.b_pre = HostTensor({c.d});
  return p;
}

// Every third latent has fired lately; the others are dead.
reference::Sae make_reference(const GradientCase& c) {
  reference::Sae sae(spec_of(c));
  sae.load(random_parameters(c));
  sae.tokens_seen = 1000;
  for (size_t i = 0; i < sae.last_fired.size(); ++i) sae.last_fired[i] = i % 3 == 0 ? 900 : 10;
  return sae;
}

SaeStep step_of(const GradientCase& c, int64_t number) {
  SaeStep step;
  step.learning_rate = 1e-2F;
  step.adam_step = number;
  step.dead_after = 500;
  step.aux_alpha = c.aux_k > 0 ? 0.25F : 0.0F;
  return step;
}

HostSlots slots_of(const std::vector<reference::Selection>& selected, int64_t k) {
  HostSlots slots;
  for (const reference::Selection& selection : selected) {
    for (int64_t s = 0; s < k; ++s) {
      const bool used = s < static_cast<int64_t>(selection.size());
      slots.indices.push_back(used ? static_cast<int32_t>(selection[static_cast<size_t>(s)].latent) : -1);
      slots.values.push_back(used ? static_cast<float>(selection[static_cast<size_t>(s)].value) : 0.0F);
    }
  }
  return slots;
}

std::vector<float> narrow(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

// The batch as the device gets it, with the selection that the reference made.
GradientData device_data(const GradientCase& c, const reference::Sae& sae, const HostTensor& x,
                         const reference::SaeResult& result, const SaeStep& step) {
  GradientData data;
  for (int64_t i = 0; i < x.size(); ++i)
    data.x.push_back(
        narrowed(c, static_cast<double>(x[i]) - sae.vectors.b_pre[static_cast<size_t>(i % c.d)]));
  data.w = narrow(sae.vectors.w), data.w_dec = narrow(sae.vectors.w_dec);
  data.b_enc = narrow(sae.vectors.b_enc), data.b_pre = narrow(sae.vectors.b_pre);
  data.main = slots_of(result.selected, c.k);
  if (!result.aux_selected.empty()) data.aux = slots_of(result.aux_selected, c.aux_k);
  for (const int64_t fired : sae.last_fired)
    data.dead_count += sae.tokens_seen - fired >= step.dead_after ? 1 : 0;
  SaeBatch& batch = data.batch;
  const auto rows = static_cast<float>(c.rows), t = static_cast<float>(step.adam_step);
  batch.error_factor = 2 / rows;
  batch.aux_error_factor = 2 * step.aux_alpha / rows;
  batch.beta1 = step.beta1, batch.beta2 = step.beta2, batch.epsilon = step.epsilon;
  batch.step_size = step.learning_rate / (1 - std::pow(step.beta1, t));
  batch.square_correction = static_cast<float>(1 / (1 - std::pow(static_cast<double>(step.beta2), t)));
  batch.adam_step = step.adam_step;
  return data;
}

double relative_error(const std::vector<float>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double error = 0, norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    error += std::pow(static_cast<double>(a[i]) - b[i], 2);
    norm += b[i] * b[i];
  }
  return norm == 0 ? error : std::sqrt(error / norm);
}

struct Case {
  bool tied, unit_norm;
  int32_t aux_k;
};
constexpr Case kCases[] = {{true, false, 0}, {false, false, 0}, {true, true, 0},
                           {false, true, 0}, {true, false, 9},  {false, false, 40}};

GradientCase make_case(const Case& variant, int32_t d, Precision precision, Scheme scheme) {
  return {.d = d,
          .n = 120,
          .k = 16,
          .rows = 50,
          .max_batch = 70,
          .tied = variant.tied,
          .unit_norm = variant.unit_norm,
          .aux_k = variant.aux_k,
          .precision = precision,
          .options = {.scheme = scheme, .dw_rows = scheme == Scheme::kTile ? 256 : 0}};
}

}  // namespace

TEST_CASE("gradient: like the reference's, every variant") {
  for (const Case& variant : kCases) {
    for (const Scheme scheme : {Scheme::kTile, Scheme::kGather}) {
      for (const Precision precision : {Precision::kF32, Precision::kTf32, Precision::kBf16}) {
        const GradientCase c = make_case(variant, 112, precision, scheme);
        CAPTURE(c.tied);
        CAPTURE(c.aux_k);
        CAPTURE(static_cast<int>(precision));
        const reference::Sae sae = make_reference(c);
        const HostTensor x = random_tensor(c, {c.rows, c.d}, 1.0, 5);
        const SaeStep step = step_of(c, 1);
        const reference::SaeResult expected = sae.gradients(x.matrix(), step);
        REQUIRE(expected.aux_selected.empty() == (c.aux_k == 0));
        const GradientData data = device_data(c, sae, x, expected, step);
        DeviceGradient device(c, data);
        const DeviceGradient::Gradients result = device.gradients();
        // float: sums of some hundred terms. bf16: weights and tokens are equal, e is rounded to 8 bits for
        // dW.
        const double tolerance = precision == Precision::kBf16 ? 1e-2 : 1e-5;
        CHECK(relative_error(result.w, expected.gradients.w) < tolerance);
        CHECK(relative_error(result.w_dec, expected.gradients.w_dec) < tolerance);
        CHECK(relative_error(result.b_enc, expected.gradients.b_enc) < 1e-5);
        CHECK(relative_error(result.b_pre, expected.gradients.b_pre) < 1e-5);
        const StepSums sums = device.read(device.sae.step_sums, 1).front();
        CHECK(sums.squared_error == doctest::Approx(expected.loss * c.rows).epsilon(1e-5));
        CHECK(sums.aux_error == doctest::Approx(expected.aux_loss * c.rows).epsilon(1e-5));
      }
    }
  }
}

TEST_CASE("gradient: several steps of Adam like the reference's") {
  constexpr int64_t kSteps = 5;
  for (const Case& variant : kCases) {
    const GradientCase c = make_case(variant, 48, Precision::kF32, Scheme::kTile);
    CAPTURE(c.tied);
    CAPTURE(c.unit_norm);
    CAPTURE(c.aux_k);
    reference::Sae sae = make_reference(c);
    const reference::SaeVectors start = sae.vectors;
    std::unique_ptr<DeviceGradient> device;
    double squared_error = 0;
    for (int64_t number = 1; number <= kSteps; ++number) {
      const HostTensor x = random_tensor(c, {c.rows, c.d}, 1.0, 10 + static_cast<uint64_t>(number));
      const SaeStep step = step_of(c, number);
      const reference::Sae before = sae;
      const reference::SaeResult result = sae.step(x.matrix(), step);
      const GradientData data = device_data(c, before, x, result, step);
      if (device == nullptr) {
        device = std::make_unique<DeviceGradient>(c, data);
        SaeState state = device->state();
        state.tokens_seen = 1000;
        device->set_state(state);
        device->set_last_fired(before.last_fired);
      }
      squared_error += result.loss * c.rows;
      SaeState state = device->state();
      state.dead_count = data.dead_count;
      device->set_state(state);
      device->upload_batch(data);
      device->step();
    }
    // Adam divides small gradients by their size: their rounding shows in full where they nearly vanish.
    const auto moved = [](const std::vector<float>& now, const std::vector<double>& end,
                          const std::vector<double>& begin) {
      double error = 0, way = 0;
      for (size_t i = 0; i < end.size(); ++i) {
        error += std::pow(static_cast<double>(now[i]) - end[i], 2);
        way += std::pow(end[i] - begin[i], 2);
      }
      return std::sqrt(error / way);
    };
    const SaeDesc& d = device->sae;
    CHECK(moved(device->read_rows(d.w, c.n), sae.vectors.w, start.w) < 1e-3);
    if (!c.tied) CHECK(moved(device->read_rows(d.w_dec, c.n), sae.vectors.w_dec, start.w_dec) < 1e-3);
    CHECK(moved(device->read(d.b_enc, c.n), sae.vectors.b_enc, start.b_enc) < 1e-3);
    CHECK(moved(device->read_rows(d.b_pre, 1), sae.vectors.b_pre, start.b_pre) < 1e-3);
    CHECK(device->read(d.last_fired, c.n) == sae.last_fired);
    CHECK(device->state().tokens_seen == sae.tokens_seen);
    CHECK(device->state().squared_error == doctest::Approx(squared_error).epsilon(1e-4));
  }
}

TEST_CASE("gradient: the same bits again, and in every order of threads") {
  for (const Scheme scheme : {Scheme::kTile, Scheme::kGather}) {
    const GradientCase c = make_case({true, true, 9}, 48, Precision::kBf16, scheme);
    const reference::Sae sae = make_reference(c);
    const HostTensor x = random_tensor(c, {c.rows, c.d}, 1.0, 20);
    const SaeStep step = step_of(c, 1);
    const GradientData data = device_data(c, sae, x, sae.gradients(x.matrix(), step), step);
    in_every_order([&] {
      DeviceGradient device(c, data);
      device.step();
      const SaeState state = device.state();
      const SaeDesc& d = device.sae;
      return std::tuple{device.read_rows(d.w, c.n), device.read_rows(d.m_w, c.n), device.read(d.b_enc, c.n),
                        device.read_rows(d.b_pre, 1),
                        std::vector<double>{state.squared_error, state.aux_error, state.total_variance}};
    });
  }
}

TEST_CASE("gradient: sizes that cannot be are refused with the numbers") {
  SaeDesc sae{};
  sae.d = sae.d_padded = 48, sae.slices = 2, sae.n = sae.n_padded = 64, sae.k = 64, sae.tied = 1;
  sae.max_batch = sae.rows_padded = 1 << 26;
  Workspace workspace;
  CHECK_THROWS_WITH_AS(plan_gradient(sae, workspace), doctest::Contains("67108864 tokens with 64 latents"),
                       InputError);
  sae.max_batch = sae.rows_padded = 128;
  sae.d = sae.d_padded = 65'536, sae.slices = 2048;
  CHECK_THROWS_WITH_AS(plan_gradient(sae, workspace), doctest::Contains("65536 channels needs"), InputError);
}
