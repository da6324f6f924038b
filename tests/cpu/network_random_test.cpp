#include <doctest/doctest.h>

#include <cstring>

#include "cpu/cpu_backend.h"
#include "tests/cpu/network_check.h"
#include "tests/reference/graph_builder.h"
#include "tests/reference/random_graph.h"

using namespace branchsae;

TEST_CASE("random graphs agree with the double-precision reference") {
  for (uint64_t seed = 0; seed < 120; ++seed) {
    CAPTURE(seed);
    const int64_t channels = 1 + static_cast<int64_t>(seed % 5), height = 9 + static_cast<int64_t>(seed % 4);
    const int64_t width = 8 + static_cast<int64_t>(seed % 7), batch = 1 + static_cast<int64_t>(seed % 3);
    const Graph graph = reference::random_graph(seed, channels, height, width);
    const reference::Array images = reference::random_images({batch, channels, height, width}, seed);
    const double error =
        test::worst_error(graph, graph.outputs, images, {.threads = 1 + static_cast<int>(seed % 2)});
    // At most some ten layers of small sums: ten times 2^-24 and their square roots; 5e-7 has been seen.
    CHECK(error < 2e-6);
  }
}

TEST_CASE("in random graphs, too, an image's bits do not depend on the batch") {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    CAPTURE(seed);
    const Graph graph = reference::random_graph(seed, 3, 12, 11);
    std::vector<Tap> taps;
    for (const ValueId output : graph.outputs) taps.push_back(test::whole_tap(graph, output));
    const auto network = test::compile_cpu(graph, taps, {7, 3, 12, 11});
    const auto stream = cpu::CpuBackend(1).make_stream();
    const test::Nhwc images(reference::random_images({7, 3, 12, 11}, seed));
    network->run(*stream, images.view);
    std::vector<std::vector<float>> together;
    for (size_t t = 0; t < taps.size(); ++t) together.push_back(test::tokens_of(*network, t));
    network->run(*stream, images.view.rows(6, 1));
    for (size_t t = 0; t < taps.size(); ++t) {
      const std::vector<float> alone = test::tokens_of(*network, t);
      REQUIRE(alone.size() * 7 == together[t].size());
      CHECK(std::memcmp(alone.data(), together[t].data() + 6 * alone.size(), alone.size() * sizeof(float)) ==
            0);
    }
  }
}
