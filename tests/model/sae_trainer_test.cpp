#include "model/sae_trainer.h"

#include <doctest/doctest.h>

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

TEST_CASE("a planted dictionary is recovered") {
  const Planted planted(24, 16, 3, 4096, 7);
  test::FakeControl control;
  const Device device = test::fake_device(control);
  const auto stream = device.make_stream();
  SaeTrainer trainer(device, {.d = 16, .n = 64, .k = 3, .batch = 256, .total_steps = 600});
  const double before = [&] {
    trainer.start_sync(planted.tokens.matrix(), rows_of(planted.tokens, 0, 256), *stream);
    return planted.recovered(trainer.state_sync().parameters.w);
  }();
  for (int64_t step = 0; step < 600; ++step) {
    trainer.step(rows_of(planted.tokens, step % 16 * 256, 256), *stream);
  }
  const double after = planted.recovered(trainer.state_sync().parameters.w);
  MESSAGE("mean cosine of matched atoms ", before, " -> ", after);
  CHECK(before < 0.8);
  CHECK(after >= 0.95);
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
