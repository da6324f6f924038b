// Groups of autoencoders, streams, and the step at which numbers went bad.
#include <doctest/doctest.h>

#include <limits>
#include <optional>

#include "engine/error.h"
#include "tests/cuda/kernel_test.h"
#include "tests/sae_cases/sae_cases.h"

using namespace branchsae;
using namespace branchsae::test;

namespace {

struct Member {
  const char* name;
  int64_t d, n, k, aux_k;
  bool tied, unit_norm;
  SaePrecision precision;
};
// Widths of several classes, every variant of a kernel more than once and at least one that is alone.
constexpr Member kMembers[] = {
    {"tied", 48, 200, 16, 0, true, false, SaePrecision::kF32},
    {"wider", 150, 320, 32, 0, true, false, SaePrecision::kF32},
    {"tied, AuxK", 64, 256, 8, 20, true, false, SaePrecision::kF32},
    {"untied, unit rows", 48, 130, 8, 0, false, true, SaePrecision::kF32},
    {"bf16", 48, 200, 16, 0, true, false, SaePrecision::kBf16},
    {"bf16, untied, AuxK", 80, 190, 40, 12, false, false, SaePrecision::kBf16},
    {"tf32, unit rows", 33, 128, 5, 0, true, true, SaePrecision::kTf32},
    {"bf16 again", 48, 333, 16, 0, true, false, SaePrecision::kBf16},
};

std::unique_ptr<SaeExecutor> make(const Member& member, uint64_t seed) {
  SaeSpec spec;
  spec.d = member.d, spec.n = member.n, spec.k = member.k, spec.aux_k = member.aux_k;
  spec.tied = member.tied, spec.unit_norm = member.unit_norm, spec.precision = member.precision;
  spec.max_batch = 70;
  SaeParameters parameters = random_parameters(spec, seed);
  if (spec.unit_norm) normalise_decoder(spec, parameters);
  return make_loaded(spec, parameters);
}

SaeStep step_of(int i, float learning_rate) {
  SaeStep step;
  step.learning_rate = learning_rate, step.adam_step = i + 1, step.dead_after = 100,
  step.aux_alpha = 1.0F / 32;
  return step;
}

/// All members twice over, each with tokens of its own.
struct Family {
  std::vector<std::unique_ptr<SaeExecutor>> saes;
  std::vector<SaeExecutor*> pointers;
  std::vector<std::unique_ptr<OnDevice<float>>> tokens;
  std::vector<View<const float, 2>> views;
  std::vector<SaeStep> steps;

  explicit Family(size_t count = std::size(kMembers)) {
    for (size_t i = 0; i < count; ++i) {
      saes.push_back(make(kMembers[i], 40 + i));
      pointers.push_back(saes.back().get());
      tokens.push_back(std::make_unique<OnDevice<float>>(normal_tensor({70, kMembers[i].d}, 1, 50 + i)));
    }
  }
  /// Batches of step i: ragged, of different sizes.
  void prepare(int i) {
    views.clear(), steps.clear();
    for (size_t s = 0; s < saes.size(); ++s) {
      views.push_back(View<const float, 2>(tokens[s]->matrix())
                          .rows(0, 70 - (i * 13 + static_cast<int64_t>(s) * 5) % 60));
      steps.push_back(step_of(i, 1e-3F * static_cast<float>(s + 1)));
    }
  }
  void step_together(Stream& stream, int i) {
    prepare(i);
    sae_backend().step_group(stream, pointers, views, steps);
  }
  void step_alone(Stream& stream, int i) {
    prepare(i);
    for (size_t s = 0; s < saes.size(); ++s) saes[s]->step(stream, views[s], steps[s]);
  }
};

void check_equal(const Family& a, const Family& b) {
  for (size_t s = 0; s < a.saes.size(); ++s) {
    CAPTURE(kMembers[s].name);
    CHECK(bytes_of(*a.saes[s]) == bytes_of(*b.saes[s]));
    const SaeStats left = a.saes[s]->read_stats_sync(), right = b.saes[s]->read_stats_sync();
    CHECK(left.squared_error == right.squared_error);
    CHECK(left.aux_error == right.aux_error);
    CHECK(left.total_variance == right.total_variance);
    CHECK(left.tokens == right.tokens);
    CHECK(left.active == right.active);
    CHECK(left.dead == right.dead);
  }
}

}  // namespace

TEST_CASE("a group's bytes are those of steps one by one") {
  Family together, alone;
  const auto stream = sae_backend().make_stream();
  for (int i = 0; i < 4; ++i) {
    together.step_together(*stream, i);
    alone.step_alone(*stream, i);
  }
  stream->synchronize();
  CHECK(together.saes[2]->read_stats_sync().aux_error > 0);  // AuxK took part
  alone.saes[2]->read_stats_sync();
  check_equal(together, alone);
}

TEST_CASE("in every order of threads the same bytes and the same evaluation") {
  const std::string bytes = cuda::test::in_every_order([] {
    Family family;
    const auto stream = sae_backend().make_stream();
    for (int i = 0; i < 2; ++i) family.step_together(*stream, i);
    stream->synchronize();
    std::string all;
    for (size_t s = 0; s < family.saes.size(); ++s) {
      all += bytes_of(*family.saes[s]);
      SaeEvalSums sums;
      family.saes[s]->evaluate_sync(family.tokens[s]->matrix(), 7, sums);
      std::vector<double> numbers = {sums.squared_error, sums.squared_norm, sums.cosine, sums.active};
      for (const auto& channels : {sums.channel_sum, sums.channel_squared_sum, sums.channel_squared_error})
        numbers.insert(numbers.end(), channels.begin(), channels.end());
      for (const int64_t fired : sums.fired) numbers.push_back(static_cast<double>(fired));
      all.append(reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(double));
    }
    return all;
  });
  CHECK(bytes.size() > 1'000'000);
}

TEST_CASE("groups that change, parts of groups, and steps alone in between") {
  Family together(5), alone(5);
  const auto stream = sae_backend().make_stream();
  const auto some = [&](Family& family, std::vector<size_t> which, int i) {
    family.prepare(i);
    std::vector<SaeExecutor*> saes;
    std::vector<View<const float, 2>> views;
    std::vector<SaeStep> steps;
    for (const size_t s : which)
      saes.push_back(family.pointers[s]), views.push_back(family.views[s]), steps.push_back(family.steps[s]);
    sae_backend().step_group(*stream, saes, views, steps);
  };
  some(together, {0, 1, 2, 3, 4}, 0);
  some(together, {4, 2, 0}, 1);
  some(together, {1, 3}, 1);
  together.prepare(2);
  for (const size_t s : {3, 1}) together.saes[s]->step(*stream, together.views[s], together.steps[s]);
  some(together, {0, 2, 4}, 2);
  // Other parameters, with another scale.
  SaeParameters other = random_parameters(together.saes[1]->spec(), 77);
  other.scale = 0.5F;
  together.saes[1]->load_sync(other);
  some(together, {0, 1, 2, 3, 4}, 3);
  for (int i = 0; i < 4; ++i) {
    if (i == 3) alone.saes[1]->load_sync(other);
    alone.step_alone(*stream, i);
  }
  stream->synchronize();
  check_equal(together, alone);
}

TEST_CASE("an autoencoder that is gone is in no group any more") {
  const auto stream = sae_backend().make_stream();
  Family kept(3), alone(3);
  {
    Family gone(3);
    for (size_t s = 0; s < 3; ++s)
      gone.pointers[s == 0 ? 0 : s] = s == 0 ? kept.pointers[0] : gone.pointers[s];
    gone.prepare(0);
    sae_backend().step_group(*stream, gone.pointers, gone.views, gone.steps);
  }
  // Whatever took its place in memory is another one.
  Family next(3);
  next.pointers[0] = kept.pointers[0];
  next.prepare(1);
  sae_backend().step_group(*stream, next.pointers, next.views, next.steps);
  for (int i = 0; i < 2; ++i) {
    alone.prepare(i);
    alone.saes[0]->step(*stream, alone.views[0], alone.steps[0]);
  }
  stream->synchronize();
  CHECK(bytes_of(*kept.saes[0]) == bytes_of(*alone.saes[0]));
}

TEST_CASE("a group of none, of one, with one twice; lists that do not fit, executors from elsewhere") {
  Family family(2), alone(2);
  const auto stream = sae_backend().make_stream();
  sae_backend().step_group(*stream, {}, {}, {});
  family.prepare(0);
  alone.prepare(0);
  const std::vector<SaeExecutor*> twice = {family.pointers[0], family.pointers[0]};
  const std::vector<View<const float, 2>> views = {family.views[0], family.views[0]};
  sae_backend().step_group(*stream, twice, views, std::vector<SaeStep>{step_of(0, 1e-3F), step_of(1, 1e-3F)});
  for (int i = 0; i < 2; ++i) alone.saes[0]->step(*stream, alone.views[0], step_of(i, 1e-3F));
  stream->synchronize();
  CHECK(bytes_of(*family.saes[0]) == bytes_of(*alone.saes[0]));
  CHECK_THROWS_AS(sae_backend().step_group(*stream, family.pointers, family.views, {}), ShapeError);
  // A wrong shape: nothing of the group is stepped.
  const std::string before = bytes_of(*family.saes[0]);
  std::vector<View<const float, 2>> wrong = family.views;
  wrong[1].shape[1] = 3;
  CHECK_THROWS_AS(sae_backend().step_group(*stream, family.pointers, wrong, family.steps), ShapeError);
  stream->synchronize();
  CHECK(bytes_of(*family.saes[0]) == before);
}

TEST_CASE("after a step with NaN or infinity nothing is updated, the step is named, the others go on") {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (const bool grouped : {false, true}) {
      CAPTURE(bad);
      CAPTURE(grouped);
      Family family(3), clean(3);
      HostTensor spoilt = normal_tensor({70, kMembers[1].d}, 1, 51);
      spoilt[5] = bad;
      OnDevice<float> spoilt_tokens(spoilt);
      const auto stream = sae_backend().make_stream();
      for (int i = 0; i < 5; ++i) {
        family.prepare(i);
        if (i == 2) family.views[1].data = spoilt_tokens.data();
        if (grouped) {
          sae_backend().step_group(*stream, family.pointers, family.views, family.steps);
        } else {
          for (size_t s = 0; s < 3; ++s) family.saes[s]->step(*stream, family.views[s], family.steps[s]);
        }
        clean.prepare(i);
        for (const size_t s : {0, 1, 2}) {
          if (s != 1 || i < 2) clean.saes[s]->step(*stream, clean.views[s], clean.steps[s]);
        }
      }
      stream->synchronize();
      for (size_t s = 0; s < 3; ++s) CHECK(bytes_of(*family.saes[s]) == bytes_of(*clean.saes[s]));
      const SaeStats stats = family.saes[1]->read_stats_sync();
      CHECK(stats.bad_step == 3);
      CHECK((stats.saw_nan || stats.saw_inf));
      CHECK(stats.tokens == clean.saes[1]->read_stats_sync().tokens);
      CHECK(family.saes[0]->read_stats_sync().bad_step == 0);
      // Asking again says it again; good parameters make it train again.
      CHECK(family.saes[1]->read_stats_sync().bad_step == 3);
      family.saes[1]->load_sync(clean.saes[1]->parameters_sync());
      CHECK(family.saes[1]->read_stats_sync().bad_step == 0);
      family.prepare(1);
      step_sync(*family.saes[1], family.views[1], family.steps[1]);
      CHECK(family.saes[1]->read_stats_sync().tokens == family.views[1].shape[0]);
    }
  }
}

TEST_CASE("NaN in tokens to encode or to evaluate does not stop the training") {
  const auto sae = make(kMembers[0], 40), other = make(kMembers[0], 40);
  HostTensor spoilt = normal_tensor({70, kMembers[0].d}, 1, 51);
  OnDevice<float> good(spoilt);
  spoilt[5] = std::numeric_limits<float>::quiet_NaN();
  OnDevice<float> bad(spoilt);
  encode_lists(*sae, bad.matrix(), 16);
  SaeEvalSums sums;
  sae->evaluate_sync(bad.matrix(), 0, sums);
  sae->gradients_sync(bad.matrix(), SaeStep{});
  step_sync(*sae, good.matrix(), SaeStep{});
  step_sync(*other, good.matrix(), SaeStep{});
  CHECK(sae->read_stats_sync().bad_step == 0);
  CHECK(bytes_of(*sae) == bytes_of(*other));
}
