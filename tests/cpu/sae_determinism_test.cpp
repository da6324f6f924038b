// The same bytes for any number of threads.
#include <doctest/doctest.h>

#include "cpu/sae/sae_executor.h"
#include "engine/error.h"
#include "tests/cpu/sae_levels.h"
#include "tests/sae_cases/sae_cases.h"

using namespace branchsae;
using namespace branchsae::test;

namespace {

void train(SaeExecutor& sae, int first_step, int steps) {
  const int64_t sizes[] = {700, 1, 333, 97, 700, 48};
  const HostTensor x = normal_tensor({700, sae.spec().d}, 1, 31);
  NoStream stream;
  for (int i = first_step; i < first_step + steps; ++i) {
    SaeStep step;
    step.learning_rate = 1e-2F, step.adam_step = i + 1, step.dead_after = 300, step.aux_alpha = 1.0F / 32;
    sae.step(stream, View<const float, 2>(x.matrix()).rows(0, sizes[i]), step);
  }
}

}  // namespace

TEST_CASE("any number of threads gives the same bytes") {
  for (const cpu::Isa isa : isa_levels()) {
    const SimdScope simd(isa);
    for (const SameBytesSetup& setup : kSameBytesSetups) {
      CAPTURE(cpu::isa_name(isa));
      CAPTURE(setup.name);
      const SaeSpec spec = setup.spec(700);
      const SaeParameters parameters = random_parameters(spec, 30);
      std::string expected;
      double expected_error = 0;
      SaeEvalSums expected_sums;
      for (const int threads : {1, 2, 3, 5}) {
        CAPTURE(threads);
        const auto sae = make_loaded(spec, parameters, threads);
        train(*sae, 0, 5);
        const std::string bytes = bytes_of(*sae);
        const double error = sae->read_stats_sync().squared_error;
        SaeEvalSums sums;
        const HostTensor x = normal_tensor({1000, spec.d}, 1, 32);
        sae->evaluate_sync(x.matrix(), 0, sums);
        if (threads == 1) {
          expected = bytes, expected_error = error, expected_sums = sums;
          continue;
        }
        CHECK(bytes == expected);
        CHECK(error == expected_error);
        CHECK(sums.squared_error == expected_sums.squared_error);
        CHECK(sums.channel_squared_error == expected_sums.channel_squared_error);
        CHECK(sums.fired == expected_sums.fired);
      }
    }
  }
}

TEST_CASE("options that make no sense are refused") {
  SaeSpec spec;
  spec.d = 30, spec.n = 500, spec.k = 12;
  CHECK_THROWS_AS(cpu::make_cpu_sae(spec, -1), InputError);
  setenv("BRANCHSAE_SIMD", "fast", 1);
  CHECK_THROWS_AS(cpu::make_cpu_sae(spec, 1), InputError);
  unsetenv("BRANCHSAE_SIMD");
}
