// Decode, evaluation, statistics, saving, and what is refused.
#include <doctest/doctest.h>

#include <cmath>

#include "engine/error.h"
#include "engine/log.h"
#include "tests/sae_cases/sae_cases.h"

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

namespace {

/// SaeEvalSums in double precision from selections and parameters.
SaeEvalSums sums_of(const SaeSpec& spec, const SaeParameters& parameters, const HostTensor& x,
                    const std::vector<reference::Selection>& lists) {
  const HostTensor& decoder = spec.tied ? parameters.w : parameters.w_dec;
  SaeEvalSums sums;
  prepare_sums(spec, sums);
  sums.tokens = x.dim(0);
  for (int64_t t = 0; t < x.dim(0); ++t) {
    const auto& list = lists[static_cast<size_t>(t)];
    double norm = 0, hat_norm = 0, product = 0;
    for (const auto& s : list) ++sums.fired[static_cast<size_t>(s.latent)];
    sums.active += static_cast<double>(list.size());
    for (int64_t j = 0; j < spec.d; ++j) {
      double hat = static_cast<double>(parameters.b_pre[j]);
      for (const auto& s : list) hat += s.value * static_cast<double>(decoder[s.latent * spec.d + j]);
      hat /= static_cast<double>(parameters.scale);
      const auto value = static_cast<double>(x[t * spec.d + j]);
      const auto c = static_cast<size_t>(j);
      sums.channel_sum[c] += value, sums.channel_squared_sum[c] += value * value;
      sums.channel_squared_error[c] += (value - hat) * (value - hat);
      sums.squared_error += (value - hat) * (value - hat);
      norm += value * value, hat_norm += hat * hat, product += value * hat;
    }
    sums.squared_norm += norm;
    if (norm > 0) sums.cosine += product / std::sqrt(norm * hat_norm);
  }
  return sums;
}

}  // namespace

TEST_CASE("evaluation sums agree with the formulas in double precision") {
  for_each_level([&] {
    for (const bool tied : {true, false}) {
      for (const int64_t d : {30, 150}) {
        for (const int64_t k : {0, 5, 100}) {
          CAPTURE(d);
          CAPTURE(k);
          SaeSpec spec = small_spec(tied);
          spec.d = d;
          const SaeParameters parameters = random_parameters(spec, 3);
          const auto sae = make_loaded(spec, parameters);
          HostTensor x = normal_tensor({333, spec.d}, 2, 4);
          for (int64_t j = 0; j < spec.d; ++j) x[5 * spec.d + j] = 0;  // cosine of a zero vector counts as 0
          OnDevice<float> tokens(x);
          SaeEvalSums sums;
          sae->evaluate_sync(tokens.matrix().rows(0, 250), k, sums);
          sae->evaluate_sync(tokens.matrix().rows(250, 83), k, sums);
          const auto lists = encode_lists(*sae, tokens.matrix(), k == 0 ? spec.k : k);
          const SaeEvalSums expected = sums_of(spec, parameters, x, lists);
          CHECK(sums.tokens == 333);
          CHECK(sums.active == expected.active);
          CHECK(sums.fired == expected.fired);
          // Inputs only: double precision throughout.
          CHECK(sums.squared_norm == doctest::Approx(expected.squared_norm).epsilon(1e-12));
          CHECK(relative_difference(sums.channel_sum, expected.channel_sum) < 1e-12);
          CHECK(relative_difference(sums.channel_squared_sum, expected.channel_squared_sum) < 1e-12);
          // The reconstruction is computed in single precision.
          CHECK(sums.squared_error == doctest::Approx(expected.squared_error).epsilon(1e-6));
          CHECK(sums.cosine == doctest::Approx(expected.cosine).epsilon(1e-6));
          CHECK(relative_difference(sums.channel_squared_error, expected.channel_squared_error) < 1e-6);
        }
      }
    }
  });
}

TEST_CASE("evaluation takes any k and any layout of the tokens, and is the same each time") {
  const SaeSpec spec = small_spec();
  const SaeParameters parameters = random_parameters(spec, 3);
  const auto sae = make_loaded(spec, parameters);
  const HostTensor x = normal_tensor({90, spec.d}, 2, 4);
  HostTensor columns({spec.d, 90});
  for (int64_t t = 0; t < 90; ++t) {
    for (int64_t j = 0; j < spec.d; ++j) columns[j * 90 + t] = x[t * spec.d + j];
  }
  OnDevice<float> rows(x), turned(columns);
  for (const int64_t k : {int64_t{1}, int64_t{65}, spec.n, spec.n + 7}) {
    CAPTURE(k);
    SaeEvalSums once, again;
    sae->evaluate_sync(rows.matrix(), k, once);
    sae->evaluate_sync({turned.data(), {90, spec.d}, {1, 90}}, k, again);
    const SaeEvalSums expected = sums_of(spec, parameters, x, encode_lists(*sae, rows.matrix(), k));
    CHECK(once.squared_error == doctest::Approx(expected.squared_error).epsilon(1e-6));
    CHECK(once.fired == expected.fired);
    CHECK(again.squared_error == once.squared_error);
    CHECK(again.cosine == once.cosine);
    CHECK(again.channel_squared_error == once.channel_squared_error);
  }
}

TEST_CASE("decode undoes encode up to the error that evaluation measures") {
  for (const SaePrecision precision : {SaePrecision::kF32, SaePrecision::kTf32, SaePrecision::kBf16}) {
    if (!sae_backend().offers(precision)) continue;
    CAPTURE(to_string(precision));
    SaeSpec spec = small_spec(false);
    spec.precision = precision;
    const auto sae = make_loaded(spec, random_parameters(spec, 3));
    const HostTensor x = normal_tensor({77, spec.d}, 1, 4);
    OnDevice<float> tokens(x), values(HostTensor({77, 20})), hat(HostTensor({77, spec.d + 3}));
    OnDevice<int32_t> indices(std::vector<int32_t>(77 * 20));
    const auto stream = sae_backend().make_stream();
    sae->encode(*stream, tokens.matrix(), values.matrix(), indices.matrix(77, 20));
    sae->decode(*stream, values.matrix(), indices.matrix(77, 20), hat.matrix().columns(0, spec.d));
    stream->synchronize();
    const std::vector<float> found = hat.host();
    double squared_error = 0;
    for (int64_t t = 0; t < 77; ++t) {
      const float* row = found.data() + t * (spec.d + 3);
      for (int64_t j = 0; j < spec.d; ++j)
        squared_error += std::pow(static_cast<double>(x[t * spec.d + j]) - static_cast<double>(row[j]), 2);
      for (int64_t j = spec.d; j < spec.d + 3; ++j) CHECK(row[j] == 0);  // not ours
    }
    SaeEvalSums sums;
    sae->evaluate_sync(tokens.matrix(), 20, sums);
    CHECK(squared_error == doctest::Approx(sums.squared_error).epsilon(1e-6));
  }
}

TEST_CASE("decode refuses an index that is no latent's: at once, or at the next blocking call on a device") {
  const SaeSpec spec = small_spec();
  const auto sae = make_loaded(spec, random_parameters(spec, 3));
  for (const int32_t bad : {static_cast<int32_t>(spec.n), -2}) {
    OnDevice<float> values(HostTensor({4, 3})), hat(HostTensor({4, spec.d}));
    std::vector<int32_t> list(12, -1);
    list[5] = bad;
    OnDevice<int32_t> indices(list);
    const auto stream = sae_backend().make_stream();
    const auto decode = [&] { sae->decode(*stream, values.matrix(), indices.matrix(4, 3), hat.matrix()); };
    if (sae_backend().is_host()) {
      CHECK_THROWS_AS(decode(), InputError);
    } else {
      decode();
      CHECK_THROWS_AS(sae->read_stats_sync(), InputError);
    }
    CHECK_NOTHROW(sae->read_stats_sync());
  }
}

TEST_CASE("statistics: variance of the batch, sums over steps, reset by reading") {
  SaeSpec spec = small_spec();
  const SaeParameters parameters = random_parameters(spec, 3);
  const auto sae = make_loaded(spec, parameters);
  const HostTensor x = normal_tensor({300, spec.d}, 3, 4);
  OnDevice<float> tokens(x);
  double variance = 0;
  for (const auto& [begin, size] : {std::pair<int64_t, int64_t>{0, 200}, {200, 100}}) {
    step_sync(*sae, tokens.matrix().rows(begin, size), SaeStep{});
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
  CHECK(stats.bad_step == 0);
  CHECK(sae->read_stats_sync().tokens == 0);
}

TEST_CASE("a token's width that is no multiple of a vector does not read past its end") {
  // The last token ends where the memory ends; the address sanitizer build and the emulator's guards check
  // it.
  for (const int64_t d : {1, 3, 15, 17, 31}) {
    SaeSpec spec = small_spec();
    spec.d = d;
    const auto sae = make_loaded(spec, random_parameters(spec, 3));
    const HostTensor long_x = normal_tensor({9, d}, 1, 4);
    OnDevice<float> exact(std::vector<float>(long_x.values().begin(), long_x.values().end()));
    CHECK(encode_lists(*sae, exact.matrix(9, d), 5) == encode_lists(*sae, long_x, 5));
  }
}

TEST_CASE("wrong shapes are refused by name") {
  const SaeSpec spec = small_spec(false);
  SaeSpec bad = spec;
  bad.k = 501;
  CHECK_THROWS_AS(sae_backend().make_sae(bad), InputError);
  const auto sae = make_loaded(spec, random_parameters(spec, 3));
  const auto stream = sae_backend().make_stream();
  // Nothing is read before the shapes were checked.
  const HostTensor wide({10, 31}), many({201, 30}), good({10, 30});
  CHECK_THROWS_WITH_AS(sae->step(*stream, wide.matrix(), {}),
                       "tokens have shape [10, 31], the autoencoder takes [1..200, 30]", ShapeError);
  CHECK_THROWS_AS(sae->step(*stream, many.matrix(), {}), ShapeError);
  CHECK_THROWS_AS(sae->step(*stream, good.matrix().rows(0, 0), {}), ShapeError);
  CHECK_THROWS_AS(sae->gradients_sync(many.matrix(), {}), ShapeError);
  HostTensor values({10, 4});
  std::vector<int32_t> indices(40);
  CHECK_THROWS_AS(sae->encode(*stream, good.matrix(), values.matrix(), {indices.data(), {10, 3}}),
                  ShapeError);
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
}

TEST_CASE("a k beyond the fast path is said once") {
  int messages = 0;
  set_log_sink(
      [&](LogLevel, const std::string& message) { messages += message.find("slower") != std::string::npos; });
  SaeSpec spec = small_spec();
  spec.k = 64;
  const auto fast = make_loaded(spec, random_parameters(spec, 3));
  CHECK(messages == 0);
  const HostTensor x({3, 30});
  encode_lists(*fast, x, 65);
  encode_lists(*fast, x, 70);
  CHECK(messages == 1);
  spec.k = 65;
  const auto slow = sae_backend().make_sae(spec);
  CHECK(messages == 2);
  set_log_sink({});
}
