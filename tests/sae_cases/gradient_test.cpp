// Gradients: the reference against finite differences, the executor against the reference.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/sae_cases/sae_cases.h"

using namespace branchsae;
using namespace branchsae::test;

namespace {

struct Variant {
  const char* name;
  bool tied, unit_norm;
  int64_t aux_k;
};
constexpr Variant kVariants[] = {{"tied", true, false, 0},           {"untied", false, false, 0},
                                 {"tied, unit rows", true, true, 0}, {"untied, unit rows", false, true, 0},
                                 {"tied, AuxK", true, false, 9},     {"untied, AuxK", false, false, 70}};

SaeSpec spec_of(const Variant& variant, int64_t d, int64_t n, int64_t k, int64_t batch) {
  SaeSpec spec;
  spec.d = d, spec.n = n, spec.k = k, spec.max_batch = batch;
  spec.tied = variant.tied, spec.unit_norm = variant.unit_norm, spec.aux_k = std::min(variant.aux_k, n);
  return spec;
}

// Every third latent has fired lately; the others are dead.
void make_dead(std::vector<int64_t>& last_fired) {
  for (size_t i = 0; i < last_fired.size(); ++i) last_fired[i] = i % 3 == 0 ? 900 : 10;
}

SaeStep step_of(const Variant& variant) {
  SaeStep step;
  step.learning_rate = 1e-2F;
  step.dead_after = 500;
  step.aux_alpha = variant.aux_k > 0 ? 0.25F : 0.0F;
  return step;
}

reference::Sae loaded_reference(const SaeSpec& spec, const SaeParameters& parameters) {
  reference::Sae sae(spec);
  sae.load(parameters);
  make_dead(sae.last_fired);
  sae.tokens_seen = 1000;
  return sae;
}

std::unique_ptr<SaeExecutor> loaded_executor(const SaeSpec& spec, const SaeParameters& parameters) {
  auto sae = make_loaded(spec, parameters);
  SaeOptimizerState state = sae->optimizer_sync();
  make_dead(state.last_fired);
  state.tokens_seen = 1000;
  sae->load_optimizer_sync(state);
  return sae;
}

// Largest error of central differences over a sample of the entries, relative to the largest gradient.
double worst_difference(reference::Sae& sae, std::vector<double> reference::SaeVectors::*part,
                        const std::vector<double>& gradient, View<const float, 2> x, double alpha,
                        const reference::SaeResult& at) {
  std::vector<double>& values = sae.vectors.*part;
  double worst = 0, largest = 1e-12;
  for (const double g : gradient) largest = std::max(largest, std::abs(g));
  const double h = 1e-5;
  for (size_t i = 0; i < values.size(); i += 1 + values.size() / 97) {
    const double before = values[i];
    values[i] = before + h;
    const double above = sae.loss_near(x, alpha, at);
    values[i] = before - h;
    const double below = sae.loss_near(x, alpha, at);
    values[i] = before;
    worst = std::max(worst, std::abs((above - below) / (2 * h) - gradient[i]));
  }
  return worst / largest;
}

}  // namespace

TEST_CASE("the reference's gradients are those of finite differences") {
  for (const Variant& variant : kVariants) {
    CAPTURE(variant.name);
    const SaeSpec spec = spec_of(variant, 7, 30, 5, 11);
    reference::Sae sae = loaded_reference(spec, random_parameters(spec, 3));
    const HostTensor x = normal_tensor({11, 7}, 1.0, 4);
    const SaeStep step = step_of(variant);
    const auto alpha = static_cast<double>(step.aux_alpha);
    const reference::SaeResult at = sae.gradients(x.matrix(), step);
    CHECK(sae.loss_near(x.matrix(), alpha, at) ==
          doctest::Approx(at.loss + alpha * at.aux_loss).epsilon(1e-12));
    // Central differences in double: truncation h^2 = 1e-10, cancellation 1e-16 / h = 1e-11.
    using Vectors = reference::SaeVectors;
    CHECK(worst_difference(sae, &Vectors::w, at.gradients.w, x.matrix(), alpha, at) < 1e-7);
    CHECK(worst_difference(sae, &Vectors::w_dec, at.gradients.w_dec, x.matrix(), alpha, at) < 1e-7);
    CHECK(worst_difference(sae, &Vectors::b_enc, at.gradients.b_enc, x.matrix(), alpha, at) < 1e-7);
    // AuxK's target is constant, so b_pre feels it through the encoder only: exactly what loss_near keeps
    // fixed.
    CHECK(worst_difference(sae, &Vectors::b_pre, at.gradients.b_pre, x.matrix(), alpha, at) < 1e-7);
  }
}

namespace {

struct Shape3 {
  int64_t batch, d, n, k;
};

/// Relative error of the precision's products and of single-precision sums of up to some thousand terms: 6e-8
/// times the square root of the count in fp32; bf16 keeps 8 bits of every factor, tf32 11.
struct Tolerance {
  double loss, gradient;
};
Tolerance tolerance_of(SaePrecision precision) {
  if (precision == SaePrecision::kBf16) return {1e-2, 1e-2};
  if (precision == SaePrecision::kTf32) return {1e-3, 1e-3};
  return {1e-6, 1e-5};
}

void check_gradients(const Variant& variant, const Shape3& shape, SaePrecision precision) {
  SaeSpec spec = spec_of(variant, shape.d, shape.n, shape.k, shape.batch + 3);
  spec.precision = precision;
  CAPTURE(variant.name);
  CAPTURE(shape.d);
  CAPTURE(to_string(precision));
  const SaeParameters parameters = random_parameters(spec, 5);
  const HostTensor x = normal_tensor({shape.batch, shape.d}, 1.0, 6);
  OnDevice<float> tokens(x);
  const SaeStep step = step_of(variant);
  const reference::Sae sae = loaded_reference(spec, parameters);
  const auto executor = loaded_executor(spec, parameters);
  // Where two pre-activations agree to rounding the sets may differ, so the reference takes the executor's.
  const auto selected = encode_lists(*executor, tokens.matrix(), spec.k);
  const reference::SaeResult expected = sae.gradients(x.matrix(), step, &selected);
  const SaeGradients actual = executor->gradients_sync(tokens.matrix(), step);
  const Tolerance tolerance = tolerance_of(precision);
  CHECK(actual.loss == doctest::Approx(expected.loss).epsilon(tolerance.loss));
  // AuxK's own sets are the reference's too, so that they may differ where pre-activations were rounded.
  if (variant.aux_k > 0 && precision != SaePrecision::kF32) return;
  CHECK(actual.aux_loss == doctest::Approx(expected.aux_loss).epsilon(tolerance.loss));
  CHECK(relative_difference(actual.w.values(), expected.gradients.w) < tolerance.gradient);
  CHECK(relative_difference(actual.w_dec.values(), expected.gradients.w_dec) < tolerance.gradient);
  CHECK(relative_difference(actual.b_enc.values(), expected.gradients.b_enc) < tolerance.gradient);
  CHECK(relative_difference(actual.b_pre.values(), expected.gradients.b_pre) < tolerance.gradient);
  // Nothing was changed by asking.
  CHECK(relative_difference(executor->parameters_sync().w.values(), parameters.w.values()) == 0);
  CHECK(executor->read_stats_sync().tokens == 0);
}

}  // namespace

TEST_CASE("gradients agree with the reference in every variant, shape and level") {
  // Ragged tokens, widths and latents; more than one chunk; both gradient schemes of the CPU (the last two
  // are sorted).
  std::vector<Shape3> shapes = {{1, 5, 9, 3},       {50, 24, 200, 8},    {131, 64, 1100, 32},
                                {97, 80, 2500, 33}, {70, 150, 2100, 70}, {500, 300, 480, 12}};
  if (slow_device()) shapes = {{1, 5, 9, 3}, {50, 24, 200, 8}, {131, 64, 400, 32}, {40, 150, 300, 70}};
  for_each_level([&] {
    for (const Shape3& shape : shapes) {
      for (const Variant& variant : kVariants) check_gradients(variant, shape, SaePrecision::kF32);
    }
  });
}

TEST_CASE("gradients in lower precisions agree with the reference") {
  for (const SaePrecision precision : {SaePrecision::kTf32, SaePrecision::kBf16}) {
    if (!sae_backend().offers(precision)) continue;
    for_each_level([&] {
      for (const Variant& variant : kVariants) check_gradients(variant, {131, 64, 400, 32}, precision);
    });
  }
}

TEST_CASE("on whole numbers every precision has the reference's sets, AuxK's too") {
  // Small integers are exact in bf16, and so are the pre-activations: ties and all.
  for (const SaePrecision precision : {SaePrecision::kF32, SaePrecision::kTf32, SaePrecision::kBf16}) {
    if (!sae_backend().offers(precision)) continue;
    for_each_level([&] {
      for (const Variant& variant : kVariants) {
        SaeSpec spec = spec_of(variant, 48, 300, 12, 64);
        spec.precision = precision;
        CAPTURE(variant.name);
        CAPTURE(to_string(precision));
        SaeParameters parameters;
        parameters.w = integer_tensor({300, 48}, 2, 1);
        if (!spec.tied) parameters.w_dec = integer_tensor({300, 48}, 2, 2);
        parameters.b_enc = integer_tensor({300}, 9, 3);
        parameters.b_pre = integer_tensor({48}, 1, 4);
        const HostTensor x = integer_tensor({64, 48}, 3, 5);
        OnDevice<float> tokens(x);
        const SaeStep step = step_of(variant);
        const reference::SaeResult expected = loaded_reference(spec, parameters).gradients(x.matrix(), step);
        const auto executor = loaded_executor(spec, parameters);
        CHECK(encode_lists(*executor, tokens.matrix(), spec.k) == expected.selected);
        const SaeGradients actual = executor->gradients_sync(tokens.matrix(), step);
        const Tolerance tolerance = tolerance_of(precision);
        CHECK(actual.loss == doctest::Approx(expected.loss).epsilon(tolerance.loss));
        CHECK(actual.aux_loss == doctest::Approx(expected.aux_loss).epsilon(tolerance.loss));
        CHECK(relative_difference(actual.w.values(), expected.gradients.w) < tolerance.gradient);
        CHECK(relative_difference(actual.w_dec.values(), expected.gradients.w_dec) < tolerance.gradient);
        CHECK(relative_difference(actual.b_enc.values(), expected.gradients.b_enc) < tolerance.gradient);
        CHECK(relative_difference(actual.b_pre.values(), expected.gradients.b_pre) < tolerance.gradient);
      }
    });
  }
}

TEST_CASE("steps follow the reference") {
  const std::vector<int64_t> widths =
      slow_device() ? std::vector<int64_t>{24, 80} : std::vector<int64_t>{24, 160};
  for_each_level([&] {
    for (const Variant& variant : kVariants) {
      for (const int64_t d : widths) {  // on the CPU: scattered, sorted
        CAPTURE(variant.name);
        CAPTURE(d);
        const SaeSpec spec = spec_of(variant, d, d * 9, 8, 64);
        SaeParameters parameters = random_parameters(spec, 7);
        if (spec.unit_norm) normalise_decoder(spec, parameters);
        reference::Sae sae = loaded_reference(spec, parameters);
        const auto executor = loaded_executor(spec, parameters);
        SaeStep step = step_of(variant);
        double squared_error = 0, active = 0;
        const HostTensor x = normal_tensor({192, d}, 1.0, 8);
        OnDevice<float> tokens(x);
        for (int i = 0; i < 3; ++i) {
          step.adam_step = i + 1;
          step_sync(*executor, tokens.matrix().rows(i * 64, 64 - i), step);
          const reference::SaeResult result = sae.step(x.matrix().rows(i * 64, 64 - i), step);
          squared_error += result.loss * static_cast<double>(64 - i);
          for (const auto& selected : result.selected) active += static_cast<double>(selected.size());
        }
        const SaeParameters now = executor->parameters_sync();
        const SaeOptimizerState state = executor->optimizer_sync();
        // Adam divides by the gradient's own size, so rounding of near-zero gradients moves weights by more
        // than 1e-7; a wrong rule would differ by the order of the step, 0.01 of a weight of 0.1.
        CHECK(relative_difference(now.w.values(), sae.vectors.w) < 1e-4);
        CHECK(relative_difference(now.w_dec.values(), sae.vectors.w_dec) < 1e-4);
        CHECK(relative_difference(now.b_enc.values(), sae.vectors.b_enc) < 1e-4);
        CHECK(relative_difference(now.b_pre.values(), sae.vectors.b_pre) < 1e-4);
        CHECK(relative_difference(state.m_w.values(), sae.m.w) < 1e-4);
        CHECK(relative_difference(state.v_w.values(), sae.v.w) < 1e-4);
        CHECK(relative_difference(state.m_b_pre.values(), sae.m.b_pre) < 1e-4);
        CHECK(state.last_fired == sae.last_fired);
        CHECK(state.tokens_seen == sae.tokens_seen);
        const SaeStats stats = executor->read_stats_sync();
        CHECK(stats.tokens == 189);
        CHECK(stats.active == active);
        CHECK(stats.squared_error == doctest::Approx(squared_error).epsilon(1e-4));
        CHECK(stats.dead == std::count_if(sae.last_fired.begin(), sae.last_fired.end(), [&](int64_t fired) {
                return sae.tokens_seen - fired >= step.dead_after;
              }));
      }
    }
  });
}

TEST_CASE("Adam without epsilon leaves what has no gradient alone") {
  SaeSpec spec;
  spec.d = 20, spec.n = 100, spec.k = 4, spec.max_batch = 8;
  const auto sae = make_loaded(spec, random_parameters(spec, 7));
  OnDevice<float> tokens(normal_tensor({8, 20}, 1, 8));
  SaeStep step;
  step.epsilon = 0;
  for (int i = 1; i <= 2; ++i) {
    step.adam_step = i;
    step_sync(*sae, tokens.matrix(), step);
  }
  const SaeParameters parameters = sae->parameters_sync();
  for (const HostTensor* tensor : {&parameters.w, &parameters.b_enc, &parameters.b_pre}) {
    int64_t bad = 0;
    for (const float value : tensor->values()) bad += std::isfinite(value) ? 0 : 1;
    CHECK(bad == 0);
  }
}
