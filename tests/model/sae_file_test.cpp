#include "model/sae_file.h"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>

#include "engine/error.h"
#include "engine/files.h"
#include "model/state_file.h"
#include "tests/test_data.h"

using namespace branchsae;

namespace {

HostTensor ramp(Shape shape, float start) {
  HostTensor tensor(std::move(shape));
  for (int64_t i = 0; i < tensor.size(); ++i) tensor[i] = start + 0.37F * static_cast<float>(i);
  return tensor;
}

SaeFile example(bool tied) {
  SaeFile sae;
  sae.spec = {.d = 3, .n = 5, .k = 2, .tied = tied};
  sae.parameters = {ramp({5, 3}, 0.1F), tied ? HostTensor() : ramp({5, 3}, 9), ramp({5}, -1), ramp({3}, 2),
                    1.0F / 3};
  sae.tap = "mixed4c.5x5";
  sae.model_sha256 = "abc";
  sae.preprocess = "104/117/123,1,BGR,255";
  return sae;
}

bool same(const HostTensor& a, const HostTensor& b) {
  return a.shape() == b.shape() && std::ranges::equal(a.values(), b.values());
}

}  // namespace

TEST_CASE("an autoencoder comes back as it was saved") {
  for (bool tied : {true, false}) {
    const auto path = test::temporary_folder() / "sae.safetensors";
    const SaeFile saved = example(tied);
    save_sae(path, saved);
    const SaeFile loaded = load_sae(path);
    CHECK(loaded.spec.d == 3);
    CHECK(loaded.spec.n == 5);
    CHECK(loaded.spec.k == 2);
    CHECK(loaded.spec.tied == tied);
    CHECK_FALSE(loaded.spec.unit_norm);
    CHECK(same(loaded.parameters.w, saved.parameters.w));
    CHECK(same(loaded.parameters.b_enc, saved.parameters.b_enc));
    CHECK(same(loaded.parameters.b_pre, saved.parameters.b_pre));
    if (!tied) CHECK(same(loaded.parameters.w_dec, saved.parameters.w_dec));
    CHECK(loaded.parameters.scale == saved.parameters.scale);  // to the last bit
    CHECK(loaded.tap == saved.tap);
    CHECK(loaded.preprocess == saved.preprocess);
  }
}

TEST_CASE("a file that does not hold together is refused") {
  const auto path = test::temporary_folder() / "sae.safetensors";
  const auto refuse = [&](const std::function<void(SafeTensors&)>& damage, const char* expected) {
    SafeTensors file = to_safetensors(example(false));
    damage(file);
    write_safetensors(path, file);
    try {
      load_sae(path);
      FAIL("accepted: ", expected);
    } catch (const InputError& error) {
      CHECK_MESSAGE(std::string(error.what()).find(expected) != std::string::npos, error.what());
    }
  };
  refuse([](SafeTensors& f) { f.tensors.erase("W"); }, "'W'");
  refuse([](SafeTensors& f) { f.tensors.erase("W_dec"); }, "'W_dec'");
  refuse([](SafeTensors& f) { f.tensors["b_pre"] = SafeTensor::from(HostTensor({4})); }, "'b_pre'");
  refuse(
      [](SafeTensors& f) {
        f.tensors["b_enc"] = SafeTensor::from(std::vector<int64_t>{1, 2, 3, 4, 5});
      },
      "I64");
  refuse([](SafeTensors& f) { f.tensors["W"] = SafeTensor::from(HostTensor({15})); }, "[n, d]");
  refuse([](SafeTensors& f) { f.metadata["k"] = std::string("6"); }, "1..n = 5");
  refuse([](SafeTensors& f) { f.metadata["k"] = "two"; }, "'two'");
  refuse([](SafeTensors& f) { f.metadata.erase("scale"); }, "\"scale\"");
  refuse([](SafeTensors& f) { f.metadata["scale"] = "-1"; }, "positive");
  refuse([](SafeTensors& f) { f.metadata["tied"] = "maybe"; }, "maybe");
  refuse(
      [](SafeTensors& f) {
        HostTensor w = ramp({5, 3}, 0);
        w[7] = std::nanf("");
        f.tensors["W"] = SafeTensor::from(w);
      },
      "nan");
}

TEST_CASE("training state comes back as it was saved") {
  const auto path = test::temporary_folder() / "state.safetensors";
  for (bool tied : {true, false}) {
    model::TrainState state;
    SaeOptimizerState& optimizer = state.trainer.optimizer;
    optimizer.m_w = ramp({5, 3}, 1);
    optimizer.v_w = ramp({5, 3}, 2);
    if (!tied) optimizer.m_w_dec = ramp({5, 3}, 3);
    if (!tied) optimizer.v_w_dec = ramp({5, 3}, 4);
    optimizer.m_b_enc = ramp({5}, 5);
    optimizer.v_b_enc = ramp({5}, 6);
    optimizer.m_b_pre = ramp({3}, 7);
    optimizer.v_b_pre = ramp({3}, 8);
    optimizer.last_fired = {1, 0, int64_t{1} << 40, 4, 5};
    optimizer.tokens_seen = int64_t{1} << 41;
    state.trainer.steps = 77;
    state.trainer.start_norm = 0.3;
    state.place = {4, {5, 6}, 7};
    state.skipped = {3, 9};
    state.seed = ~uint64_t{0};
    write_safetensors(path, model::to_safetensors(state));
    const SaeSpec spec{.d = 3, .n = 5, .k = 2, .tied = tied};
    const model::TrainState loaded = model::load_state(path, spec);
    CHECK(same(loaded.trainer.optimizer.m_w, optimizer.m_w));
    CHECK(same(loaded.trainer.optimizer.v_w, optimizer.v_w));
    if (!tied) CHECK(same(loaded.trainer.optimizer.v_w_dec, optimizer.v_w_dec));
    CHECK(same(loaded.trainer.optimizer.v_b_pre, optimizer.v_b_pre));
    CHECK(loaded.trainer.optimizer.last_fired == optimizer.last_fired);
    CHECK(loaded.trainer.optimizer.tokens_seen == optimizer.tokens_seen);
    CHECK(loaded.trainer.steps == 77);
    CHECK(loaded.trainer.start_norm == 0.3);
    CHECK(loaded.place == state.place);
    CHECK(loaded.skipped == state.skipped);
    CHECK(loaded.seed == state.seed);
    CHECK_THROWS_AS(model::load_state(path, {.d = 3, .n = 6, .k = 2, .tied = tied}), InputError);
    CHECK_THROWS_AS(model::load_state(path, {.d = 4, .n = 5, .k = 2, .tied = tied}), InputError);
  }
}
