// Decode, evaluation, statistics, saving, and what is refused.
#include <doctest/doctest.h>

#include <cmath>

#include "engine/error.h"
#include "engine/log.h"
#include "tests/cpu/sae_cases.h"

using namespace branchsae;
using namespace branchsae::test;

namespace {

SaeSpec small_spec(bool tied = true) {
  SaeSpec spec;
  spec.d = 30, spec.n = 500, spec.k = 12, spec.max_batch = 200;
  spec.tied = tied;
  return spec;
}

}  // namespace

TEST_CASE("evaluation sums agree with the formulas in double precision") {
  for (const cpu::Isa isa : isa_levels()) {
    const SimdScope simd(isa);
    for (const bool tied : {true, false}) {
      for (const int64_t k : {0, 5, 100}) {
        CAPTURE(cpu::isa_name(isa));
        CAPTURE(k);
        const SaeSpec spec = small_spec(tied);
        const SaeParameters parameters = random_parameters(spec, 3);
        const auto sae = make_loaded(spec, parameters, 2);
        HostTensor x = normal_tensor({333, spec.d}, 2, 4);
        for (int64_t j = 0; j < spec.d; ++j) x[5 * spec.d + j] = 0;  // cosine of a zero vector counts as 0
        SaeEvalSums sums;
        sae->evaluate_sync(x.matrix().rows(0, 200), k, sums);
        sae->evaluate_sync(x.matrix().rows(200, 133), k, sums);

        const auto lists = encode_lists(*sae, x.matrix(), k == 0 ? spec.k : k);
        const HostTensor& decoder = tied ? parameters.w : parameters.w_dec;
        SaeEvalSums expected;
        std::vector<int64_t> fired(static_cast<size_t>(spec.n));
        std::vector<double> channel(static_cast<size_t>(spec.d)), squares(channel), errors(channel);
        for (int64_t t = 0; t < 333; ++t) {
          const auto& list = lists[static_cast<size_t>(t)];
          double norm = 0, hat_norm = 0, product = 0;
          for (const auto& s : list) ++fired[static_cast<size_t>(s.latent)];
          expected.active += static_cast<double>(list.size());
          for (int64_t j = 0; j < spec.d; ++j) {
            double hat = static_cast<double>(parameters.b_pre[j]);
            for (const auto& s : list) hat += s.value * static_cast<double>(decoder[s.latent * spec.d + j]);
            hat /= static_cast<double>(parameters.scale);
            const auto value = static_cast<double>(x[t * spec.d + j]);
            const auto c = static_cast<size_t>(j);
            channel[c] += value, squares[c] += value * value, errors[c] += (value - hat) * (value - hat);
            expected.squared_error += (value - hat) * (value - hat);
            norm += value * value, hat_norm += hat * hat, product += value * hat;
          }
          expected.squared_norm += norm;
          if (norm > 0) expected.cosine += product / std::sqrt(norm * hat_norm);
        }
        CHECK(sums.tokens == 333);
        CHECK(sums.active == expected.active);
        CHECK(sums.fired == fired);
        // Inputs only: double precision throughout.
        CHECK(sums.squared_norm == doctest::Approx(expected.squared_norm).epsilon(1e-12));
        CHECK(relative_difference(sums.channel_sum, channel) < 1e-12);
        CHECK(relative_difference(sums.channel_squared_sum, squares) < 1e-12);
        // The reconstruction is computed in single precision.
        CHECK(sums.squared_error == doctest::Approx(expected.squared_error).epsilon(1e-6));
        CHECK(sums.cosine == doctest::Approx(expected.cosine).epsilon(1e-6));
        CHECK(relative_difference(sums.channel_squared_error, errors) < 1e-6);
      }
    }
  }
}

TEST_CASE("decode undoes encode up to the error that evaluation measures") {
  const SaeSpec spec = small_spec(false);
  const SaeParameters parameters = random_parameters(spec, 3);
  const auto sae = make_loaded(spec, parameters, 2);
  const HostTensor x = normal_tensor({77, spec.d}, 1, 4);
  HostTensor values({77, 20}), hat({77, spec.d + 3});
  std::vector<int32_t> indices(77 * 20);
  NoStream stream;
  const View<int32_t, 2> index_view(indices.data(), {77, 20});
  sae->encode(stream, x.matrix(), values.matrix(), index_view);
  sae->decode(stream, values.matrix(), index_view, hat.matrix().columns(0, spec.d));
  double squared_error = 0;
  for (int64_t t = 0; t < 77; ++t) {
    for (int64_t j = 0; j < spec.d; ++j)
      squared_error +=
          std::pow(static_cast<double>(x[t * spec.d + j]) - static_cast<double>(hat.matrix()(t, j)), 2);
    for (int64_t j = spec.d; j < spec.d + 3; ++j) CHECK(hat.matrix()(t, j) == 0);  // not ours
  }
  SaeEvalSums sums;
  sae->evaluate_sync(x.matrix(), 20, sums);
  CHECK(squared_error == doctest::Approx(sums.squared_error).epsilon(1e-6));
  indices[5] = static_cast<int32_t>(spec.n);
  CHECK_THROWS_AS(sae->decode(stream, values.matrix(), index_view, hat.matrix().columns(0, spec.d)),
                  InputError);
}

TEST_CASE("statistics: variance of the batch, sums over steps, reset by reading") {
  SaeSpec spec = small_spec();
  const SaeParameters parameters = random_parameters(spec, 3);
  const auto sae = make_loaded(spec, parameters, 2);
  const HostTensor x = normal_tensor({300, spec.d}, 3, 4);
  NoStream stream;
  double variance = 0;
  for (const auto& [begin, size] : {std::pair<int64_t, int64_t>{0, 200}, {200, 100}}) {
    sae->step(stream, x.matrix().rows(begin, size), SaeStep{});
    for (int64_t j = 0; j < spec.d; ++j) {
      double mean = 0;
      for (int64_t t = begin; t < begin + size; ++t) mean += static_cast<double>(x[t * spec.d + j]);
      mean /= static_cast<double>(size);
      for (int64_t t = begin; t < begin + size; ++t)
        variance += std::pow(1.25 * (static_cast<double>(x[t * spec.d + j]) - mean), 2);
    }
  }
  const SaeStats stats = sae->read_stats_sync();
  CHECK(stats.tokens == 300);
  CHECK(stats.total_variance ==
        doctest::Approx(variance).epsilon(1e-6));  // tiles are summed in single precision
  CHECK_FALSE(stats.saw_nan);
  CHECK_FALSE(stats.saw_inf);
  CHECK(sae->read_stats_sync().tokens == 0);
}

TEST_CASE("a token's width that is no multiple of a vector does not read past its end") {
  // The last token ends where the memory ends; the address sanitizer build checks the reads.
  for (const int64_t d : {1, 3, 15, 17, 31}) {
    SaeSpec spec = small_spec();
    spec.d = d;
    const auto sae = make_loaded(spec, random_parameters(spec, 3), 2);
    const HostTensor long_x = normal_tensor({9, d}, 1, 4);
    const std::vector<float> exact(long_x.values().begin(), long_x.values().end());
    CHECK(encode_lists(*sae, {exact.data(), {9, d}}, 5) == encode_lists(*sae, long_x.matrix(), 5));
  }
}

TEST_CASE("wrong shapes and options are refused by name") {
  const SaeSpec spec = small_spec(false);
  SaeSpec bad = spec;
  bad.k = 501;
  CHECK_THROWS_AS(cpu::make_cpu_sae(bad, 1), InputError);
  CHECK_THROWS_AS(cpu::make_cpu_sae(spec, -1), InputError);
  const auto sae = make_loaded(spec, random_parameters(spec, 3), 1);
  NoStream stream;
  const HostTensor wide({10, 31}), many({201, 30}), good({10, 30});
  CHECK_THROWS_WITH_AS(sae->step(stream, wide.matrix(), {}),
                       "tokens have shape [10, 31], the autoencoder takes [1..200, 30]", ShapeError);
  CHECK_THROWS_AS(sae->step(stream, many.matrix(), {}), ShapeError);
  CHECK_THROWS_AS(sae->step(stream, good.matrix().rows(0, 0), {}), ShapeError);
  CHECK_THROWS_AS(sae->gradients_sync(many.matrix(), {}), ShapeError);
  HostTensor values({10, 4});
  std::vector<int32_t> indices(40);
  CHECK_THROWS_AS(sae->encode(stream, good.matrix(), values.matrix(), {indices.data(), {10, 3}}), ShapeError);
  SaeEvalSums sums;
  CHECK_THROWS_AS(sae->evaluate_sync(good.matrix(), -1, sums), InputError);
  sums.channel_sum.resize(7);
  CHECK_THROWS_AS(sae->evaluate_sync(good.matrix(), 0, sums), ShapeError);
  SaeParameters parameters = random_parameters(spec, 3);
  parameters.w_dec = HostTensor({500, 29});
  CHECK_THROWS_WITH_AS(sae->load_sync(parameters),
                       "W_dec has shape [500, 29], the autoencoder needs [500, 30]", ShapeError);
  SaeOptimizerState state = sae->optimizer_sync();
  state.last_fired.resize(3);
  CHECK_THROWS_AS(sae->load_optimizer_sync(state), ShapeError);
  setenv("BRANCHSAE_SIMD", "fast", 1);
  CHECK_THROWS_AS(cpu::make_cpu_sae(spec, 1), InputError);
  unsetenv("BRANCHSAE_SIMD");
}

TEST_CASE("a k beyond the fast path is said once") {
  int messages = 0;
  set_log_sink(
      [&](LogLevel, const std::string& message) { messages += message.find("slower") != std::string::npos; });
  SaeSpec spec = small_spec();
  spec.k = 64;
  const auto fast = make_loaded(spec, random_parameters(spec, 3), 1);
  CHECK(messages == 0);
  const HostTensor x({3, 30});
  encode_lists(*fast, x.matrix(), 65);
  encode_lists(*fast, x.matrix(), 70);
  CHECK(messages == 1);
  spec.k = 65;
  cpu::make_cpu_sae(spec, 1);
  CHECK(messages == 2);
  set_log_sink({});
}
