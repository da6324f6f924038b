#include "model/evaluate.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <numeric>

#include "engine/error.h"
#include "model/sae_start.h"
#include "tests/model/fake_device.h"
#include "tests/model/fake_sae.h"

using namespace branchsae;

namespace {

SaeFile random_sae(const std::string& tap, int64_t d, int64_t n, int64_t k) {
  SaeFile sae;
  sae.spec = {.d = d, .n = n, .k = k};
  sae.parameters = start_parameters(random_directions(n, d, 4, 4), 0.3, HostTensor({d}), 0.7, true);
  sae.tap = tap;
  return sae;
}

std::vector<int64_t> indices(int64_t count) {
  std::vector<int64_t> all(static_cast<size_t>(count));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

}  // namespace

TEST_CASE("figures are those of the same tokens evaluated at once") {
  test::FakeControl control;
  const Device device = test::fake_device(control);
  const Graph graph = test::fake_graph();
  test::FakeImages images(7);
  std::vector<SaeFile> saes;
  saes.push_back(random_sae("a", 8, 40, 4));
  saes.push_back(random_sae("b", 12, 24, 3));
  const EvaluateResult result =
      evaluate(device, graph, images, saes, {.images = indices(7), .forward_batch = 3});
  REQUIRE(result.evaluations.size() == 2);
  CHECK(result.images == 7);

  Program program = device.compile(graph, {.taps = {"a"}, .max_batch = 7, .height = 8, .width = 8});
  std::vector<float> pixels(7 * 192);
  for (int64_t i = 0; i < 7; ++i) images.read_centre(i, pixels.data() + i * 192);
  const auto stream = device.make_stream();
  program.run(View<const float, 4>(pixels.data(), {7, 8, 8, 3}), *stream);
  SaeEvalSums sums;
  make_executor(device, saes[0])->evaluate_sync(program.tap(0).tokens(), 0, sums);
  const SaeMetrics expected = metrics_from_sums(sums, 40);
  const SaeMetrics& got = result.evaluations[0].metrics;
  CHECK(got.tokens == 7 * 16);
  CHECK(got.fvu == doctest::Approx(expected.fvu).epsilon(1e-12));  // sums of doubles in another order
  CHECK(got.l0 == expected.l0);
  CHECK(got.density == expected.density);
  const auto json = nlohmann::json::parse(to_json(result.evaluations[1]));
  CHECK(json.at("tap") == "b");
  CHECK(json.at("k") == 3);
  CHECK(json.at("tokens") == 112);
}

TEST_CASE("several k, from one forward pass") {
  test::FakeControl control;
  test::FakeImages images(4);
  std::vector<SaeFile> saes;
  saes.push_back(random_sae("a", 8, 40, 4));
  const EvaluateResult result = evaluate(test::fake_device(control), test::fake_graph(), images, saes,
                                         {.images = indices(4), .ks = {1, 4, 40}});
  REQUIRE(result.evaluations.size() == 3);
  CHECK(control.images_run == 1 + 4);
  CHECK(result.evaluations[0].metrics.l0 <= 1);
  CHECK(result.evaluations[1].metrics.l0 > result.evaluations[0].metrics.l0);
  CHECK(result.evaluations[2].metrics.l0 > 4);
}

TEST_CASE("bad requests are refused") {
  test::FakeControl control;
  const Device device = test::fake_device(control);
  test::FakeImages images(4);
  std::vector<SaeFile> saes;
  saes.push_back(random_sae("a", 8, 40, 4));
  const auto with = [&](const EvaluateOptions& options) {
    return evaluate(device, test::fake_graph(), images, saes, options);
  };
  CHECK_THROWS_AS(with({.images = indices(4), .ks = {41}}), InputError);
  CHECK_THROWS_AS(with({.images = indices(4), .ks = {0}}), InputError);
  images.unreadable[1] = "broken";
  CHECK(with({.images = indices(4)}).skipped.size() == 1);
  CHECK_THROWS_AS(with({.images = indices(4), .strict = true}), InputError);
  images.unreadable[2] = images.unreadable[3] = "broken";
  CHECK_THROWS_AS(with({.images = indices(4)}), InputError);
  saes[0].tap = std::string("b");
  CHECK_THROWS_AS(with({.images = {0}}), InputError);
  saes[0].tap = "nothing";
  CHECK_THROWS_AS(with({.images = {0}}), InputError);
}

TEST_CASE("a stop keeps what was read") {
  test::FakeControl control;
  test::FakeImages images(8);
  std::vector<SaeFile> saes;
  saes.push_back(random_sae("a", 8, 40, 4));
  EvaluateCallbacks callbacks;
  int64_t seen = 0;
  callbacks.progress = [&](int64_t done, int64_t) { seen = done; };
  callbacks.stop_requested = [&] { return seen >= 4; };
  const EvaluateResult result = evaluate(test::fake_device(control), test::fake_graph(), images, saes,
                                         {.images = indices(8), .forward_batch = 2}, callbacks);
  CHECK(result.stopped);
  CHECK(result.images == 4);
  CHECK(result.evaluations[0].metrics.tokens == 64);
}
