/// Random graphs over every op, in every precision and lowering, beside the double-precision reference.
#include <doctest/doctest.h>

#include "tests/cuda/kernel_test.h"
#include "tests/cuda/network_check.h"
#include "tests/reference/graph_builder.h"
#include "tests/reference/random_graph.h"

using namespace branchsae;
using cuda::test::worst_error;

namespace {

double random_error(uint64_t seed, NetworkPrecision precision, const std::string& lowering) {
  const int64_t channels = 1 + static_cast<int64_t>(seed % 5), height = 9 + static_cast<int64_t>(seed % 4);
  const int64_t width = 8 + static_cast<int64_t>(seed % 7), batch = 1 + static_cast<int64_t>(seed % 3);
  const Graph graph = reference::random_graph(seed, channels, height, width);
  const reference::Array images = reference::random_images({batch, channels, height, width}, seed);
  return worst_error(graph, graph.outputs, images, {.precision = precision, .lowering = lowering});
}

/// A GPU's library thinks long about every new shape.
uint64_t seeds(uint64_t emulated) {
  return cuda::test::emulated() ? emulated : 12;
}

const char* lowering_of(uint64_t seed) {
  return seed % 2 == 0 ? "in-place" : "dense";
}

}  // namespace

TEST_CASE("random graphs in float32 agree with the double-precision reference") {
  for (uint64_t seed = 0; seed < seeds(120); ++seed) {
    CAPTURE(seed);
    // As on the CPU: at most some ten layers of small sums; 7e-7 has been seen.
    CHECK(random_error(seed, NetworkPrecision::kF32, lowering_of(seed)) < 2e-6);
  }
}

TEST_CASE("random graphs in less precision stay within its rounding") {
  for (uint64_t seed = 0; seed < seeds(60); ++seed) {
    CAPTURE(seed);
    // A rounding is off by 2^-9 (bf16) or 2^-12 (half, TF32) of a number at most. Some ten layers round two
    // operands and a result each, and sums of both signs lose more: 2^-5 and 2^-8.
    CHECK(random_error(seed, NetworkPrecision::kBf16, lowering_of(seed)) < 0x1p-5);
    CHECK(random_error(seed, NetworkPrecision::kF16, lowering_of(seed)) < 0x1p-8);
    CHECK(random_error(seed, NetworkPrecision::kTf32, lowering_of(seed)) < 0x1p-8);
  }
}

TEST_CASE("in random graphs, too, an image's bits do not depend on the batch") {
  for (uint64_t seed = 0; seed < seeds(40); ++seed) {
    CAPTURE(seed);
    const Graph graph = reference::random_graph(seed, 3, 12, 11);
    const auto precision = seed % 2 == 0 ? NetworkPrecision::kBf16 : NetworkPrecision::kF32;
    cuda::test::TestNetwork network(graph, cuda::test::whole_taps(graph, graph.outputs), {7, 3, 12, 11},
                                    {.precision = precision, .lowering = lowering_of(seed / 2)});
    const reference::Array images = reference::random_images({7, 3, 12, 11}, seed);
    const reference::Array last({1, 3, 12, 11},
                                std::vector<double>(images.data.end() - 3 * 12 * 11, images.data.end()));
    network.run(images);
    std::vector<std::vector<float>> together;
    for (size_t t = 0; t < graph.outputs.size(); ++t) together.push_back(network.floats(t));
    network.run(last);
    for (size_t t = 0; t < graph.outputs.size(); ++t) {
      const std::vector<float> alone = network.floats(t);
      REQUIRE(alone.size() * 7 == together[t].size());
      const std::vector<float> part(together[t].end() - static_cast<std::ptrdiff_t>(alone.size()),
                                    together[t].end());
      CHECK(cuda::test::same_bits(alone, part));
    }
  }
}
