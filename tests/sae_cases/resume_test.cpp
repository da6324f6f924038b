// The same bytes from a saved state as without saving, each time, and parameters come back as they went in.
#include <doctest/doctest.h>

#include "tests/sae_cases/sae_cases.h"

using namespace branchsae;
using namespace branchsae::test;

namespace {

int64_t batch() {
  return slow_device() ? 150 : 700;
}

SaeSpec spec_of(const SameBytesSetup& setup, SaePrecision precision) {
  SaeSpec spec = setup.spec(batch());
  if (slow_device()) spec.n /= 4;
  spec.precision = precision;
  return spec;
}

void train(SaeExecutor& sae, int first_step, int steps) {
  const int64_t sizes[] = {batch(), 1, batch() / 2 - 17, 97, batch(), 48};
  OnDevice<float> x(normal_tensor({batch(), sae.spec().d}, 1, 31));
  for (int i = first_step; i < first_step + steps; ++i) {
    SaeStep step;
    step.learning_rate = 1e-2F, step.adam_step = i + 1, step.dead_after = batch() / 2,
    step.aux_alpha = 1.0F / 32;
    step_sync(sae, x.matrix().rows(0, sizes[i]), step);
  }
}

std::vector<SaePrecision> precisions() {
  std::vector<SaePrecision> offered;
  for (const SaePrecision precision : {SaePrecision::kF32, SaePrecision::kTf32, SaePrecision::kBf16}) {
    if (sae_backend().offers(precision)) offered.push_back(precision);
  }
  return offered;
}

}  // namespace

TEST_CASE("two runs give the same bytes, and going on from a saved state those of not stopping") {
  for (const SaePrecision precision : precisions()) {
    for (const SameBytesSetup& setup : kSameBytesSetups) {
      // In lower precisions the slow device takes one setup without and one with AuxK.
      if (slow_device() && precision != SaePrecision::kF32 && setup.n != kSameBytesSetups[1].n &&
          setup.n != kSameBytesSetups[2].n)
        continue;
      CAPTURE(setup.name);
      CAPTURE(to_string(precision));
      const SaeSpec spec = spec_of(setup, precision);
      const auto whole = make_loaded(spec, random_parameters(spec, 30), 2);
      const auto first = make_loaded(spec, random_parameters(spec, 30), 2);
      train(*whole, 0, 5);
      train(*first, 0, 3);
      const auto second = make_loaded(spec, first->parameters_sync(), 3);
      second->load_optimizer_sync(first->optimizer_sync());
      train(*second, 3, 2);
      CHECK(bytes_of(*second) == bytes_of(*whole));
      train(*first, 3, 2);
      CHECK(bytes_of(*first) == bytes_of(*whole));
      CHECK(first->read_stats_sync().squared_error == whole->read_stats_sync().squared_error);
    }
  }
}

TEST_CASE("parameters and state come back as they were loaded") {
  for (const SaePrecision precision : precisions()) {
    SaeSpec spec;
    spec.d = 37, spec.n = 101, spec.k = 5, spec.max_batch = 20, spec.tied = false, spec.precision = precision;
    const SaeParameters parameters = random_parameters(spec, 3);
    const auto sae = make_loaded(spec, parameters);
    SaeOptimizerState state;
    state.m_w = normal_tensor({101, 37}, 1, 1), state.v_w = normal_tensor({101, 37}, 1, 2);
    state.m_w_dec = normal_tensor({101, 37}, 1, 3), state.v_w_dec = normal_tensor({101, 37}, 1, 4);
    state.m_b_enc = normal_tensor({101}, 1, 5), state.v_b_enc = normal_tensor({101}, 1, 6);
    state.m_b_pre = normal_tensor({37}, 1, 7), state.v_b_pre = normal_tensor({37}, 1, 8);
    for (int64_t i = 0; i < 101; ++i) state.last_fired.push_back(i * i);
    state.tokens_seen = 20000;
    sae->load_optimizer_sync(state);
    const SaeParameters back = sae->parameters_sync();
    const SaeOptimizerState state_back = sae->optimizer_sync();
    const auto same = [](const HostTensor& a, const HostTensor& b) {
      return a.shape() == b.shape() && relative_difference(a.values(), b.values()) == 0;
    };
    CHECK((same(back.w, parameters.w) && same(back.w_dec, parameters.w_dec)));
    CHECK((same(back.b_enc, parameters.b_enc) && same(back.b_pre, parameters.b_pre)));
    CHECK(back.scale == parameters.scale);
    CHECK((same(state_back.m_w, state.m_w) && same(state_back.v_w, state.v_w)));
    CHECK((same(state_back.m_w_dec, state.m_w_dec) && same(state_back.v_w_dec, state.v_w_dec)));
    CHECK((same(state_back.m_b_enc, state.m_b_enc) && same(state_back.v_b_enc, state.v_b_enc)));
    CHECK((same(state_back.m_b_pre, state.m_b_pre) && same(state_back.v_b_pre, state.v_b_pre)));
    CHECK(state_back.last_fired == state.last_fired);
    CHECK(state_back.tokens_seen == 20000);
    // Absent tensors are zeros.
    sae->load_optimizer_sync({});
    CHECK(relative_difference(sae->optimizer_sync().m_w_dec.values(), HostTensor({101, 37}).values()) == 0);
  }
}
