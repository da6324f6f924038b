#include <doctest/doctest.h>

#include "tests/cpu/network_check.h"
#include "tests/reference/graph_builder.h"
#include "tests/reference/random_graph.h"

using namespace branchsae;

TEST_CASE("random graphs agree with the double-precision reference") {
  for (uint64_t seed = 0; seed < 150; ++seed) {
    CAPTURE(seed);
    const int64_t channels = 1 + static_cast<int64_t>(seed % 5), height = 9 + static_cast<int64_t>(seed % 4);
    const int64_t width = 8 + static_cast<int64_t>(seed % 7), batch = 1 + static_cast<int64_t>(seed % 3);
    const Graph graph = reference::random_graph(seed, channels, height, width);
    const reference::Array images = reference::random_images({batch, channels, height, width}, seed);
    const double error = test::worst_error(graph, graph.outputs, images);
    // At most some ten layers of small sums: ten times 2^-24 and their square roots; 5e-7 has been seen.
    CHECK(error < 2e-6);
  }
}
