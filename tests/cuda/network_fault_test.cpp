/// Faults around the forward pass, which only the emulator can make: libraries that decline, memory that runs
/// out, launches that fail.
#include <doctest/doctest.h>

#include "engine/error.h"
#include "engine/log.h"
#include "tests/cuda/network_check.h"
#include "tests/emulator/convolution_twin.h"
#include "tests/emulator/runtime.h"
#include "tests/reference/graph_builder.h"
#include "tests/reference/inception_graph.h"
#include "tests/reference/random_graph.h"

using namespace branchsae;
using cuda::ConvProblem;
using cuda::test::TestNetwork;
using cuda::test::whole_taps;
using cuda::test::worst_error;
using emulator::convolution_twin;
using reference::GraphBuilder;
using reference::random_images;
using reference::window;

namespace {

/// Puts the twin back as it was.
struct Refusing {
  explicit Refusing(std::function<std::string(const ConvProblem&)> why) {
    convolution_twin().refuses = std::move(why);
  }
  ~Refusing() { convolution_twin().refuses = nullptr; }
};

std::string refuse_strides(const ConvProblem& p) {
  return p.src_pixel_stride != p.channels || p.dst_pixel_stride != p.outputs ? "only dense activations" : "";
}

template <class Body>
std::string message_of(const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    CHECK(std::string(error.what()).find('\n') == std::string::npos);
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("a library that takes only dense, symmetric, ungrouped problems still runs everything") {
  const Refusing refusing([](const ConvProblem& p) -> std::string {
    if (p.groups > 1) return "no groups";
    if (p.pad_begin != p.pad_end) return "only symmetric padding";
    return refuse_strides(p);
  });
  for (uint64_t seed = 0; seed < 60; ++seed) {
    CAPTURE(seed);
    const Graph graph = reference::random_graph(seed, 3, 11, 12);
    CHECK(worst_error(graph, graph.outputs, random_images({2, 3, 11, 12}, seed),
                      {.lowering = seed % 2 == 0 ? "in-place" : "dense"}) < 2e-6);
  }
  const test::InceptionGraph net = test::inception_graph(8, 10, 1);
  for (const char* lowering : {"auto", "in-place", "dense"}) {
    CHECK(worst_error(net.graph, net.blocks, random_images({1, 3, 48, 48}, 2), {.lowering = lowering}) <
          2e-5);
  }
}

TEST_CASE("convolutions write into the concat exactly when the library takes strides") {
  const test::InceptionGraph net = test::inception_graph(1, 10, 3);
  const auto copies = [&] {
    TestNetwork network(net.graph, whole_taps(net.graph, {net.blocks[1]}), {1, 3, 32, 32},
                        {.precision = NetworkPrecision::kBf16});
    int64_t count = 0;
    for (const LayerTime& layer : network.executor().profile(network.stream())) {
      count += layer.op == "Concat" || layer.implementation.find("copied") != std::string::npos ? 1 : 0;
    }
    return count;
  };
  CHECK(copies() == 0);
  const Refusing refusing(refuse_strides);
  // Two blocks, each with a joined concat and two convolutions that read one slice of their merged siblings.
  CHECK(copies() == 6);
}

TEST_CASE("a convolution that the library does not take is named with its shapes and the reason") {
  GraphBuilder build(3, 5);
  const ValueId first = build.conv(build.input(), 8, window(1));
  const ValueId dst = build.conv(first, 16, window(3, 1, 1));
  const Graph graph = build.graph({dst});
  const Refusing refusing(
      [](const ConvProblem& p) -> std::string { return p.kernel[0] == 3 ? "it is a bad day" : ""; });
  const std::string message = message_of([&] { TestNetwork(graph, whole_taps(graph, {dst}), {2, 3, 6, 7}); });
  CHECK(message.find("layer '" + graph.nodes.back().name + "' (Conv [2, 8, 6, 7] -> [2, 16, 6, 7])") == 0);
  CHECK(message.find("[2, 6, 7, 8] * [16, 3, 3, 8] -> [2, 6, 7, 16]") != std::string::npos);
  CHECK(message.find("it is a bad day") != std::string::npos);
}

TEST_CASE("the library is asked only when a network is made") {
  GraphBuilder build(3, 6);
  const ValueId dst = build.conv(build.input(), 8, window(3, 1, 1));
  const Graph graph = build.graph({dst});
  TestNetwork network(graph, whole_taps(graph, {dst}), {2, 3, 6, 7});
  const int64_t asked = convolution_twin().problems, allocated = emulator::live_allocations();
  emulator::reset_counters();
  const int64_t bytes = emulator::device_bytes();
  for (int i = 0; i < 3; ++i) network.run(random_images({1 + i % 2, 3, 6, 7}, 7));
  CHECK(convolution_twin().problems == asked);
  // The test's own images are the one allocation more, two while one replaces the other.
  CHECK(emulator::live_allocations() == allocated + 1);
  CHECK(emulator::peak_device_bytes() <= bytes + (1 + 2) * 3 * 6 * 7 * 4);
}

TEST_CASE("out of memory: what, how large, what would help; then it works again") {
  const test::InceptionGraph net = test::inception_graph(8, 10, 8);
  for (int n = 1; n <= 4; ++n) {
    CAPTURE(n);
    emulator::fail_allocation(n);
    const std::string message = message_of([&] {
      TestNetwork(net.graph, whole_taps(net.graph, {net.blocks[0], net.prob}), {3, 3, 48, 48},
                  {.precision = NetworkPrecision::kBf16});
    });
    CHECK(message.find("MiB") != std::string::npos);
    CHECK(message.find("the network for 3 images at once needs") != std::string::npos);
    CHECK(message.find("smaller batch") != std::string::npos);
  }
  emulator::fail_allocation(0);
  CHECK(worst_error(net.graph, {net.prob}, random_images({1, 3, 48, 48}, 9)) < 2e-5);
}

TEST_CASE("a launch that fails names the layer") {
  const test::InceptionGraph net = test::inception_graph(8, 10, 10);
  emulator::fail_launch(3);
  const std::string message = message_of([&] {
    TestNetwork(net.graph, whole_taps(net.graph, {net.prob}), {1, 3, 48, 48});
  });
  CHECK(message.find("layer '") == 0);
  CHECK(message.find("[1, ") != std::string::npos);
  emulator::fail_launch(0);
  CHECK(worst_error(net.graph, {net.prob}, random_images({1, 3, 48, 48}, 11)) < 2e-5);
}

TEST_CASE("what cannot be captured runs launch by launch, with the same bits") {
  const test::InceptionGraph net = test::inception_graph(8, 10, 12);
  const reference::Array images = random_images({2, 3, 48, 48}, 13);
  const auto logits = [&] {
    TestNetwork network(net.graph, whole_taps(net.graph, {net.logits}), images.shape);
    network.run(images);
    return network.floats(0);
  };
  const std::vector<float> captured = logits();
  std::vector<std::string> lines;
  set_log_sink([&](LogLevel, const std::string& text) { lines.push_back(text); });
  convolution_twin().waits = true;
  const std::vector<float> launched = logits();
  convolution_twin().waits = false;
  set_log_sink({});
  CHECK(captured == launched);
  REQUIRE(lines.size() == 1);
  CHECK(lines[0].find("cannot be captured: layer '") != std::string::npos);
}
