/// What engine/network.h promises beyond right numbers, on the CUDA backend: bits that do not depend on the
/// batch, taps, input forms, memory, profiles, errors.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "engine/error.h"
#include "engine/random.h"
#include "engine/sync_debug.h"
#include "tests/cuda/kernel_test.h"
#include "tests/cuda/network_check.h"
#include "tests/reference/graph_builder.h"
#include "tests/reference/inception_graph.h"

using namespace branchsae;
using cuda::test::Setting;
using cuda::test::TestNetwork;
using cuda::test::whole_tap;
using cuda::test::whole_taps;
using reference::Array;
using reference::GraphBuilder;
using reference::random_images;
using reference::window;

namespace {

const Setting kSettings[] = {{NetworkPrecision::kF32, "in-place", 0},
                             {NetworkPrecision::kF32, "dense", 0},
                             {NetworkPrecision::kBf16, "in-place", 0},
                             {NetworkPrecision::kBf16, "dense", 0}};

/// Every block, the logits and the probabilities.
std::vector<ValueId> inception_values(const test::InceptionGraph& net) {
  std::vector<ValueId> values = net.blocks;
  values.push_back(net.logits);
  values.push_back(net.prob);
  return values;
}

Array pick(const Array& images, const std::vector<int64_t>& order) {
  const int64_t size = static_cast<int64_t>(images.data.size()) / images.dim(0);
  Array picked({static_cast<int64_t>(order.size()), images.dim(1), images.dim(2), images.dim(3)});
  for (size_t place = 0; place < order.size(); ++place) {
    std::copy_n(images.data.begin() + order[place] * size, size,
                picked.data.begin() + static_cast<int64_t>(place) * size);
  }
  return picked;
}

/// Image `place`'s part of all taps after running these images.
std::vector<float> run_place(TestNetwork& network, size_t taps, const Array& images, int64_t place) {
  network.run(images);
  std::vector<float> all;
  for (size_t t = 0; t < taps; ++t) {
    const std::vector<float> rows = network.floats(t);
    const auto each = static_cast<int64_t>(rows.size()) / images.dim(0);
    all.insert(all.end(), rows.begin() + place * each, rows.begin() + (place + 1) * each);
  }
  return all;
}

}  // namespace

TEST_CASE("the whole network agrees with the reference, in both lowerings") {
  const test::InceptionGraph net = test::inception_graph(8, 20, 10);
  std::vector<ValueId> values = inception_values(net);
  for (const auto& branches : net.branches) values.insert(values.end(), branches.begin(), branches.end());
  const Array images = random_images({2, 3, 48, 64}, 11);
  for (const Setting& setting : kSettings) {
    CAPTURE(setting.lowering);
    // Rounding of some 20 layers in a chain that neither grows nor shrinks it much: 1e-6 each in float32,
    // 2^-9 for each of two operands and a result in bf16, independent of each other.
    const double tolerance = setting.precision == NetworkPrecision::kF32 ? 2e-5 : 3e-2;
    CHECK(cuda::test::worst_error(net.graph, values, images, setting) < tolerance);
  }
}

TEST_CASE("an image's bits do not depend on its place, its neighbours or their number") {
  const test::InceptionGraph net = test::inception_graph(8, 10, 1);
  const std::vector<ValueId> values = inception_values(net);
  const Array images = random_images({5, 3, 64, 48}, 2);
  for (const Setting& setting : kSettings) {
    CAPTURE(setting.lowering);
    TestNetwork network(net.graph, whole_taps(net.graph, values), images.shape, setting);
    const std::vector<float> third = run_place(network, values.size(), images, 3);
    CHECK(std::ranges::all_of(third, [](float number) { return std::isfinite(number); }));
    CHECK_FALSE(cuda::test::same_bits(third, run_place(network, values.size(), images, 2)));
    CHECK(cuda::test::same_bits(third, run_place(network, values.size(), pick(images, {3}), 0)));
    CHECK(cuda::test::same_bits(third, run_place(network, values.size(), pick(images, {4, 3, 1}), 1)));
    CHECK(cuda::test::same_bits(third, run_place(network, values.size(), images, 3)));
  }
}

TEST_CASE("two executors give the same bits, launch by launch as in a graph") {
  const test::InceptionGraph net = test::inception_graph(8, 10, 3);
  const std::vector<ValueId> values = inception_values(net);
  const Array images = random_images({2, 3, 48, 48}, 4);
  TestNetwork captured(net.graph, whole_taps(net.graph, values), images.shape);
  set_sync_debug(true);
  TestNetwork stepped(net.graph, whole_taps(net.graph, values), images.shape);
  const std::vector<float> one = run_place(stepped, values.size(), images, 1);
  set_sync_debug(false);
  CHECK(cuda::test::same_bits(run_place(captured, values.size(), images, 1), one));
}

TEST_CASE("no order of threads or blocks changes a bit") {
  const test::InceptionGraph net = test::inception_graph(8, 10, 5);
  const std::vector<ValueId> values = inception_values(net);
  const Array images = random_images({2, 3, 33, 40}, 6);
  for (const Setting& setting : {kSettings[0], kSettings[3]}) {
    cuda::test::in_every_order([&] {
      TestNetwork network(net.graph, whole_taps(net.graph, values), images.shape, setting);
      return run_place(network, values.size(), images, 1);
    });
  }
}

TEST_CASE("taps: branches, joined parts, the input, values before their ReLU") {
  const test::InceptionGraph net = test::inception_graph(4, 10, 12);
  const Array images = random_images({3, 3, 64, 64}, 13);
  const std::vector<Array> expected = reference::run_network(net.graph, images);
  const ValueId whole = net.blocks[3], branch = net.branches[4][2], next = net.blocks[4];
  const ValueId before_relu = net.graph.nodes[static_cast<size_t>(net.graph.producer(branch))].inputs[0];
  const int64_t channels = net.graph.value(whole).shape[1];
  const std::vector<Tap> taps{
      {.name = "slice", .parts = {{whole, 3, 37}}},
      {.name = "joined", .parts = {{next, 5, 21}, {whole, 0, channels}, {branch, 1, 2}}},
      {.name = "pre", .parts = {{before_relu, 0, 7}}},
      {.name = "image", .parts = {{net.graph.input, 0, 3}}},
  };
  for (const Setting& setting : kSettings) {
    TestNetwork network(net.graph, taps, images.shape,
                        {.precision = setting.precision, .lowering = setting.lowering, .max_batch = 5});
    network.run(images);
    for (size_t t = 0; t < taps.size(); ++t) {
      CAPTURE(taps[t].name);
      const TapOutput tap = network.executor().tap(t);
      CHECK(tap.n == 3);
      CHECK(tap.has_grid);
      CHECK(tap.tokens().shape[0] == 3 * tap.height * tap.width);
      CHECK(tap.tokens().stride[1] == 1);
      const Array got = network.rows(t);
      REQUIRE(got.dim(1) == taps[t].width());
      Array want(got.shape);
      int64_t column = 0;
      for (const TapPart& part : taps[t].parts) {
        const Array rows = reference::tokens(expected[static_cast<size_t>(part.value)]);
        REQUIRE(rows.dim(0) == got.dim(0));
        for (int64_t c = part.begin; c < part.end; ++c, ++column) {
          for (int64_t i = 0; i < rows.dim(0); ++i) {
            want.data[static_cast<size_t>(i * want.dim(1) + column)] =
                rows.data[static_cast<size_t>(i * rows.dim(1) + c)];
          }
        }
      }
      CHECK(reference::relative_error(got, want) <
            (setting.precision == NetworkPrecision::kF32 ? 2e-5 : 3e-2));
    }
  }
}

TEST_CASE("rows beyond this run's images are not shown") {
  const test::InceptionGraph net = test::inception_graph(8, 10, 14);
  TestNetwork network(net.graph, whole_taps(net.graph, {net.prob, net.blocks[0]}), {6, 3, 64, 64});
  CHECK(network.executor().tap(0).tokens().shape[0] == 0);  // nothing was run
  network.run(random_images({6, 3, 64, 64}, 15));
  CHECK(network.executor().tap(0).tokens().shape[0] == 6);
  CHECK_FALSE(network.executor().tap(0).has_grid);
  CHECK(network.executor().tap(0).height == 1);
  network.run(random_images({3, 3, 64, 64}, 16));
  const TapOutput block = network.executor().tap(1);
  CHECK(network.executor().tap(0).tokens().shape[0] == 3);
  CHECK(block.tokens().shape[0] == 3 * block.height * block.width);
}

TEST_CASE("8-bit images give the bits of their preprocessed floats") {
  const test::InceptionGraph net = test::inception_graph(8, 10, 16);
  constexpr int64_t kHeight = 49, kWidth = 51;
  std::vector<uint8_t> pixels(2 * kHeight * kWidth * 3);
  Random random(17, 0);
  for (uint8_t& pixel : pixels) pixel = static_cast<uint8_t>(random.below(256));
  for (const Preprocess& preprocess : {caffe_preprocess(), lucid_preprocess(), torchvision_preprocess()}) {
    for (const NetworkPrecision precision : {NetworkPrecision::kF32, NetworkPrecision::kF16}) {
      CAPTURE(preprocess.name);
      const std::vector<Tap> taps{whole_tap(net.graph, net.graph.input), whole_tap(net.graph, net.logits)};
      TestNetwork network(net.graph, taps, {3, 3, kHeight, kWidth}, {.precision = precision}, preprocess);
      network.run(pixels, {2, kHeight, kWidth, 3});
      const std::vector<float> from_bytes = network.floats(1), input = network.floats(0);
      Array planar({2, 3, kHeight, kWidth});
      double worst = 0;
      for (int64_t i = 0; i < 2 * kHeight * kWidth; ++i) {
        for (int64_t c = 0; c < 3; ++c) {
          const auto index = static_cast<size_t>(c);
          const double level = pixels[static_cast<size_t>(i * 3 + preprocess.order[index])];
          const double value =
              (level * preprocess.range / 255.0 - preprocess.mean[index]) / preprocess.stddev[index];
          const int64_t image = i / (kHeight * kWidth), pixel = i % (kHeight * kWidth);
          planar.at(image, c, pixel / kWidth, pixel % kWidth) = static_cast<float>(value);
          worst = std::max(worst, std::abs(value - input[static_cast<size_t>(i * 3 + c)]));
        }
      }
      // One rounding of numbers up to 151: 2^-17 in float32, 2^-4 in half precision.
      CHECK(worst < (precision == NetworkPrecision::kF32 ? 0x1p-16 : 0x1p-4));
      network.run(planar);
      CHECK(cuda::test::same_bits(network.floats(1), from_bytes));
    }
  }
}

TEST_CASE("float32 taps of one part are the activations themselves") {
  const test::InceptionGraph net = test::inception_graph(4, 10, 18);
  const auto tap_bytes = [](TestNetwork& network) {
    int64_t bytes = 0;
    for (const MemoryUse& use : network.executor().memory()) bytes += use.category == "taps" ? use.bytes : 0;
    return bytes;
  };
  TestNetwork plain(net.graph, whole_taps(net.graph, {net.blocks[2], net.logits}), {2, 3, 64, 64});
  CHECK(tap_bytes(plain) == 0);
  TestNetwork rounded(net.graph, whole_taps(net.graph, {net.blocks[2], net.logits}), {2, 3, 64, 64},
                      {.precision = NetworkPrecision::kBf16});
  const TapOutput block = rounded.executor().tap(0);
  CHECK(tap_bytes(rounded) >= 2 * block.height * block.width * net.graph.value(net.blocks[2]).shape[1] * 4);
}

TEST_CASE("memory is reported by category, activations share it") {
  const test::InceptionGraph net = test::inception_graph(4, 10, 19);
  TestNetwork network(net.graph, whole_taps(net.graph, {net.prob}), {4, 3, 64, 64});
  int64_t weights = 0, arena = 0;
  for (const MemoryUse& use : network.executor().memory()) {
    if (use.category == "weights") weights = use.bytes;
    if (use.category == "arena") arena = use.bytes;
  }
  int64_t numbers = 0, activations = 0;
  for (const Node& node : net.graph.nodes) {
    if (const auto* conv = std::get_if<ConvOp>(&node.op)) numbers += conv->weight->size();
  }
  for (const Array& value : reference::run_network(net.graph, random_images({4, 3, 64, 64}, 20))) {
    activations += static_cast<int64_t>(value.data.size()) * 4;
  }
  CHECK(weights >= numbers * 4);
  CHECK(arena * 2 < activations);
}

TEST_CASE("profile names every layer and counts the operations") {
  GraphBuilder build(3, 20);
  const ValueId first = build.conv(build.input(), 32, window(3, 1, 1));
  const ValueId dst = build.linear(first, 32 * 80, 10);
  const Graph graph = build.graph({dst});
  TestNetwork network(graph, whole_taps(graph, {dst}), {2, 3, 8, 10}, {.precision = NetworkPrecision::kBf16});
  const std::vector<LayerTime> layers = network.executor().profile(network.stream());
  REQUIRE(layers.size() == 2);  // the logits are rows already
  CHECK(layers[0].op == "Conv");
  CHECK(layers[0].flops == 2 * 32 * 3 * 9 * 80 * 2);
  CHECK_FALSE(layers[0].implementation.empty());
  CHECK(layers[1].flops == 2 * 32 * 80 * 10 * 2);
  for (const LayerTime& layer : layers) CHECK(layer.milliseconds >= 0);

  const test::InceptionGraph net = test::inception_graph(8, 10, 21);
  TestNetwork merged(net.graph, whole_taps(net.graph, net.blocks), {1, 3, 64, 64},
                     {.precision = NetworkPrecision::kBf16, .lowering = "in-place"});
  int64_t groups = 0, concats = 0;
  for (const LayerTime& layer : merged.executor().profile(merged.stream())) {
    groups += layer.node.find(" + ") != std::string::npos ? 1 : 0;
    concats += layer.op == "Concat" ? 1 : 0;
  }
  CHECK(groups == 9);  // a block's 1x1 convolutions of its input
  // With an eighth of the channels some branches do not fill whole groups of 8, so their concats copy.
  CHECK(concats < 9);
}

TEST_CASE("errors name what does not fit, and what fits still works") {
  const test::InceptionGraph net = test::inception_graph(8, 10, 18);
  const std::vector<Tap> taps{whole_tap(net.graph, net.prob)};
  TestNetwork network(net.graph, taps, {2, 3, 48, 48});
  CHECK_THROWS_WITH_AS(network.run(random_images({3, 3, 48, 48}, 19)),
                       "images [3, 48, 48, 3] do not fit the compiled network, which takes [1..2, 48, 48, 3]",
                       ShapeError);
  CHECK_THROWS_AS(network.run(random_images({1, 3, 47, 48}, 19)), ShapeError);
  CHECK_THROWS_AS(network.run(std::vector<uint8_t>(48 * 48 * 4), {1, 48, 48, 4}), ShapeError);
  network.run(random_images({2, 3, 48, 48}, 19));
  CHECK(network.executor().tap(0).n == 2);
  CHECK_THROWS_AS(network.executor().tap(1), InputError);

  const auto compile = [&](std::vector<Tap> wanted, const Shape& images, const Setting& setting = {}) {
    TestNetwork(net.graph, std::move(wanted), images, setting);
  };
  CHECK_THROWS_AS(compile({}, {1, 3, 48, 48}), InputError);
  CHECK_THROWS_AS(compile(taps, {1, 3, 0, 48}), InputError);
  CHECK_THROWS_AS(compile(taps, {1, 3, 48, 48}, {.max_batch = int64_t{1} << 50}), ShapeError);
  CHECK_THROWS_AS(compile(taps, {1, 3, 48, 48}, {.lowering = "sideways"}), InputError);
  CHECK_THROWS_AS(compile({{"bad", {{net.prob, 0, 11}}}}, {1, 3, 48, 48}), ShapeError);
  CHECK_THROWS_AS(compile({{"bad", {{9999, 0, 1}}}}, {1, 3, 48, 48}), InputError);
  CHECK_THROWS_AS(compile({{"bad", {{net.blocks[0], 0, 1}, {net.blocks[2], 0, 1}}}}, {1, 3, 48, 48}),
                  ShapeError);
}
