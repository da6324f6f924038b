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

}  // namespace

TEST_CASE("random graphs in float32 agree with the double-precision reference") {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    CAPTURE(seed);
    // As on the CPU: at most some ten layers of small sums.
    CHECK(random_error(seed, NetworkPrecision::kF32, seed % 2 == 0 ? "merged" : "dense") < 2e-6);
  }
}

TEST_CASE("random graphs in less precision stay within its rounding") {
  for (uint64_t seed = 60; seed < 84; ++seed) {
    CAPTURE(seed);
    const char* lowering = seed % 2 == 0 ? "merged" : "dense";
    // Half a unit of 8, 11 and 11 bits a rounding; some ten layers, two operands each. Quotients of numbers
    // that nearly cancel lose more, so a norm of some seeds is five times the rounding of one layer.
    CHECK(random_error(seed, NetworkPrecision::kBf16, lowering) < 2e-2);
    CHECK(random_error(seed, NetworkPrecision::kF16, lowering) < 2.5e-3);
    CHECK(random_error(seed, NetworkPrecision::kTf32, lowering) < 2.5e-3);
  }
}
