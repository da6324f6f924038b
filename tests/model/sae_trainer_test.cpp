#include "model/sae_trainer.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "engine/error.h"
#include "engine/random.h"
#include "model/sae_start.h"
#include "tests/model/fake_device.h"

using namespace branchsae;

namespace {

/// Tokens that are sparse positive sums of fixed atoms of norm 1.
struct Planted {
  HostTensor atoms;  ///< [count, d]
  HostTensor tokens;

  Planted(int64_t count, int64_t d, int64_t active, int64_t rows, uint64_t seed)
      : atoms(random_directions(count, d, seed, 1)), tokens({rows, d}) {
    Random random(seed, 2);
    for (int64_t t = 0; t < rows; ++t) {
      for (int64_t i = 0; i < active; ++i) {
        const auto atom = static_cast<int64_t>(random.below(static_cast<uint64_t>(count)));
        const double strength = 0.5 + random.uniform();
        for (int64_t c = 0; c < d; ++c) {
          tokens.matrix()(t, c) += static_cast<float>(strength * atoms.matrix()(atom, c));
        }
      }
    }
  }

  /// Mean over atoms of the largest cosine with a row of w.
  double recovered(const HostTensor& w) const {
    double sum = 0;
    for (int64_t a = 0; a < atoms.dim(0); ++a) {
      double best = -1;
      for (int64_t i = 0; i < w.dim(0); ++i) {
        double dot = 0, norm = 0;
        for (int64_t c = 0; c < w.dim(1); ++c) {
          dot += static_cast<double>(w.matrix()(i, c)) * atoms.matrix()(a, c);
          norm += std::pow(w.matrix()(i, c), 2);
        }
        best = std::max(best, dot / std::sqrt(norm));
      }
      sum += best;
    }
    return sum / static_cast<double>(atoms.dim(0));
  }
};

View<const float, 2> rows_of(const HostTensor& tokens, int64_t begin, int64_t count) {
  return tokens.matrix().rows(begin, count);
}

}  // namespace

namespace {

/// Trains on the planted tokens over and over with all settings automatic; returns the recovery before and
/// after.
std::pair<double, double> recover(const Device& device, const Planted& planted, SaeConfig config,
                                  int64_t steps) {
  const auto stream = device.make_stream();
  config.d = planted.tokens.dim(1);
  config.total_steps = steps;
  SaeTrainer trainer(device, config);
  trainer.start_sync(planted.tokens.matrix(), rows_of(planted.tokens, 0, config.batch), *stream);
  const auto recovered = [&] {
    const SaeParameters parameters = trainer.state_sync().parameters;
    return planted.recovered(config.tied ? parameters.w : parameters.w_dec);
  };
  const double before = recovered();
  const int64_t batches = planted.tokens.dim(0) / config.batch;
  for (int64_t step = 0; step < steps; ++step) {
    trainer.step(rows_of(planted.tokens, step % batches * config.batch, config.batch), *stream);
  }
  const double after = recovered();
  MESSAGE("mean cosine of matched atoms ", before, " -> ", after);
  return {before, after};
}

}  // namespace

TEST_CASE("a planted dictionary is recovered") {
  test::FakeControl control;
  const auto [before, after] =
      recover(test::fake_device(control), Planted(24, 16, 3, 4096, 7), {.n = 64, .k = 3, .batch = 256}, 600);
  CHECK(before < 0.8);
  CHECK(after >= 0.95);
}

TEST_CASE("a planted dictionary is recovered on the CPU, tied and untied") {
  for (bool tied : {true, false}) {
    const auto [before, after] = recover(Device::cpu(1), Planted(64, 32, 4, 16'384, 11),
                                         {.n = 256, .k = 4, .tied = tied, .batch = 1024}, 1000);
    CHECK(before < 0.8);
    CHECK(after >= 0.95);
  }
}

TEST_CASE("the first step starts from its own tokens, and the loss falls") {
  const Planted planted(24, 16, 3, 1024, 3);
  test::FakeControl control;
  const Device device = test::fake_device(control);
  const auto stream = device.make_stream();
  SaeTrainer trainer(device, {.d = 16, .n = 32, .k = 4});
  CHECK_FALSE(trainer.started());
  CHECK(trainer.learning_rate() == 0);
  trainer.step(planted.tokens.matrix(), *stream);
  CHECK(trainer.started());
  CHECK(trainer.steps() == 1);
  const double first = trainer.read_stats_sync().squared_error;
  for (int i = 0; i < 60; ++i) trainer.step(planted.tokens.matrix(), *stream);
  trainer.read_stats_sync();
  trainer.step(planted.tokens.matrix(), *stream);
  CHECK(trainer.read_stats_sync().squared_error < 0.5 * first);
  CHECK(trainer.config().learning_rate == auto_learning_rate(16, 0));
}

TEST_CASE("beside a given rate auto takes the row norm that reconstructs the first batch best") {
  const Planted planted(24, 16, 3, 512, 3);
  test::FakeControl control;
  const Device device = test::fake_device(control);
  const auto stream = device.make_stream();
  const auto error_with = [&](double norm) {
    SaeTrainer trainer(device,
                       {.d = 16, .n = 64, .k = 8, .learning_rate = 1e-3, .start_norm = norm, .seed = 5});
    trainer.start_sync(planted.tokens.matrix(), planted.tokens.matrix(), *stream);
    SaeEvalSums sums;
    trainer.executor().evaluate_sync(planted.tokens.matrix(), 0, sums);
    return std::pair{sums.squared_error, trainer.config().start_norm};
  };
  const auto [error, chosen] = error_with(0);
  double least = error_with(kStartNorms[0]).first;
  for (double norm : kStartNorms) {
    const auto [squared, kept] = error_with(norm);
    CHECK(kept == norm);
    least = std::min(least, squared);
    if (norm == chosen) CHECK(squared == error);
  }
  CHECK(error == least);
}

TEST_CASE("beside an auto rate the row norm is the one the rate was measured with") {
  const Planted planted(24, 16, 3, 512, 3);
  test::FakeControl control;
  const Device device = test::fake_device(control);
  const auto stream = device.make_stream();
  SaeTrainer trainer(device, {.d = 16, .n = 64, .k = 8});
  trainer.start_sync(planted.tokens.matrix(), planted.tokens.matrix(), *stream);
  CHECK(trainer.config().start_norm == kAutoStartNorm);
  const SaeTrainerState state = trainer.state_sync();
  for (int64_t i = 0; i < 64; ++i) {
    double squared = 0;
    for (int64_t c = 0; c < 16; ++c) squared += std::pow(state.parameters.w.matrix()(i, c), 2);
    CHECK(squared == doctest::Approx(1).epsilon(1e-5));  // float32 rounding of 16 entries
  }
}

TEST_CASE("a trainer goes on from a state as if it had never stopped") {
  const Planted planted(24, 16, 3, 512, 9);
  test::FakeControl control;
  const Device device = test::fake_device(control);
  const auto stream = device.make_stream();
  for (bool tied : {true, false}) {
    const SaeConfig config{.d = 16, .n = 40, .k = 4, .tied = tied, .total_steps = 20};
    SaeTrainer whole(device, config);
    for (int i = 0; i < 10; ++i) whole.step(planted.tokens.matrix(), *stream);
    SaeTrainer second(device, config);
    second.load_sync(whole.state_sync());
    CHECK(second.config().start_norm == whole.config().start_norm);
    for (int i = 0; i < 10; ++i) {
      whole.step(planted.tokens.matrix(), *stream);
      second.step(planted.tokens.matrix(), *stream);
      CHECK(second.learning_rate() == whole.learning_rate());
    }
    CHECK(std::ranges::equal(whole.state_sync().parameters.w.values(),
                             second.state_sync().parameters.w.values()));
    CHECK(std::ranges::equal(whole.state_sync().optimizer.v_w.values(),
                             second.state_sync().optimizer.v_w.values()));
  }
}

TEST_CASE("sizes that cannot work and tokens that do not fit are refused") {
  test::FakeControl control;
  const Device device = test::fake_device(control);
  const auto stream = device.make_stream();
  CHECK_THROWS_AS(SaeTrainer(device, {.d = 4, .n = 8, .k = 9}), InputError);
  CHECK_THROWS_AS(SaeTrainer(device, {.d = 4, .n = 8, .k = 0}), InputError);
  CHECK_THROWS_AS(SaeTrainer(device, {.d = 0, .n = 8, .k = 1}), InputError);
  SaeTrainer trainer(device, {.d = 4, .n = 8, .k = 2, .batch = 16});
  const HostTensor wrong({5, 3});
  CHECK_THROWS_AS(trainer.step(wrong.matrix(), *stream), ShapeError);
  HostTensor bad({5, 4});
  bad[3] = std::nanf("");
  CHECK_THROWS_AS(trainer.step(bad.matrix(), *stream), NumericError);
}

TEST_CASE("trainers step together as they do one by one, each from its own start") {
  const Planted narrow(24, 16, 3, 512, 5), wide(30, 20, 4, 512, 6);
  test::FakeControl control{.host = false, .deferred = true};
  for (const Device& device : {test::fake_device(control), Device::cpu(1)}) {
    const auto stream = device.make_stream();
    std::vector<SaeParameters> found;
    for (const bool together : {false, true}) {
      SaeTrainer first(device, {.d = 16, .n = 32, .k = 4, .batch = 128});
      SaeTrainer second(device,
                        {.d = 20, .n = 60, .k = 3, .tied = false, .batch = 128, .learning_rate = 1e-3});
      SaeTrainer* const all[] = {&first, &second};
      for (int64_t step = 0; step < 6; ++step) {
        const View<const float, 2> tokens[] = {rows_of(narrow.tokens, step % 4 * 128, 128),
                                               rows_of(wide.tokens, step % 4 * 128, 128)};
        if (together) {
          SaeTrainer::step_group(all, tokens, *stream);
        } else {
          for (size_t i = 0; i < 2; ++i) all[i]->step(tokens[i], *stream);
        }
      }
      CHECK(second.steps() == 6);
      CHECK(second.learning_rate(1) < second.learning_rate(6));
      for (SaeTrainer* trainer : all) found.push_back(trainer->state_sync().parameters);
    }
    for (size_t i = 0; i < 2; ++i) {
      CHECK(std::ranges::equal(found[i].w.values(), found[i + 2].w.values()));
      CHECK(std::ranges::equal(found[i].b_enc.values(), found[i + 2].b_enc.values()));
    }
  }
}
