// What engine/network.h promises beyond right numbers: bits that do not depend on the batch, taps, input
// forms, errors.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

#include "cpu/cpu_backend.h"
#include "cpu/network/compiler.h"
#include "engine/error.h"
#include "tests/cpu/network_check.h"
#include "tests/reference/graph_builder.h"
#include "tests/reference/inception_graph.h"

using namespace branchsae;
using reference::Array;
using reference::GraphBuilder;
using reference::random_images;
using reference::window;
using test::compile_cpu;
using test::Nhwc;
using test::tokens_of;
using test::whole_tap;

namespace {

std::unique_ptr<Stream> stream() {
  return cpu::CpuBackend(1).make_stream();
}

/// Every block, the logits and the probabilities.
std::vector<Tap> inception_taps(const test::InceptionGraph& net) {
  std::vector<Tap> taps;
  for (const ValueId block : net.blocks) taps.push_back(whole_tap(net.graph, block));
  taps.push_back(whole_tap(net.graph, net.logits));
  taps.push_back(whole_tap(net.graph, net.prob));
  return taps;
}

/// Images by index out of `all`, run as one batch; one image's part of every tap, by place.
std::vector<std::vector<float>> run_places(NetworkExecutor& network, size_t taps, const Nhwc& all,
                                           const std::vector<int64_t>& order) {
  const auto [total, height, width, channels] = all.view.shape;
  const int64_t image = height * width * channels;
  std::vector<float> batch;
  for (const int64_t index : order) {
    batch.insert(batch.end(), all.values.begin() + index * image, all.values.begin() + (index + 1) * image);
  }
  const auto count = static_cast<int64_t>(order.size());
  network.run(*stream(), View<const float, 4>(batch.data(), {count, height, width, channels}));
  std::vector<std::vector<float>> places(order.size());
  for (size_t t = 0; t < taps; ++t) {
    const std::vector<float> rows = tokens_of(network, t);
    const size_t each = rows.size() / order.size();
    for (size_t place = 0; place < order.size(); ++place) {
      const auto begin = rows.begin() + static_cast<int64_t>(place * each);
      places[place].insert(places[place].end(), begin, begin + static_cast<int64_t>(each));
    }
  }
  return places;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

void check_batch_independence(const test::InceptionGraph& net, const Shape& images, uint64_t seed) {
  const std::vector<Tap> taps = inception_taps(net);
  const auto network = compile_cpu(net.graph, taps, images);
  const Nhwc all(random_images(images, seed));
  std::vector<int64_t> order;
  for (int64_t i = 0; i < images[0]; ++i) order.push_back(i);
  const auto together = run_places(*network, taps.size(), all, order);
  CHECK(std::ranges::all_of(together.front(), [](float number) { return std::isfinite(number); }));
  CHECK_FALSE(same_bits(together[0], together[1]));  // the images do differ

  const auto alone = run_places(*network, taps.size(), all, {order.back()});
  CHECK(same_bits(alone[0], together.back()));

  std::vector<int64_t> moved(order.rbegin(), order.rend());
  moved.pop_back();
  const auto others = run_places(*network, taps.size(), all, moved);
  for (size_t place = 0; place < moved.size(); ++place) {
    CAPTURE(place);
    CHECK(same_bits(others[place], together[static_cast<size_t>(moved[place])]));
  }
}

}  // namespace

TEST_CASE("an image's bits do not depend on its place, its neighbours or their number") {
  const test::InceptionGraph net = test::inception_graph(2, 100, 1);
  bool uses_winograd = false;
  const auto network = compile_cpu(net.graph, inception_taps(net), {8, 3, 96, 96});
  for (const LayerTime& layer : network->profile(*stream())) {
    uses_winograd = uses_winograd || layer.implementation.find("wino") != std::string::npos;
  }
  CHECK(uses_winograd);  // else the test says little

  check_batch_independence(net, {9, 3, 96, 96}, 2);   // lanes of chunks of 3, the last with none of its own
  check_batch_independence(net, {8, 3, 75, 110}, 3);  // one full chunk, odd sizes
  check_batch_independence(test::inception_graph(8, 10, 4), {17, 3, 64, 64}, 5);
}

TEST_CASE("a batch of one takes part in the same contract") {
  const test::InceptionGraph net = test::inception_graph(4, 10, 6);
  const auto network = compile_cpu(net.graph, inception_taps(net), {1, 3, 64, 80});
  const Nhwc all(random_images({3, 3, 64, 80}, 7));
  const auto first = run_places(*network, 11, all, {0});
  const auto second = run_places(*network, 11, all, {1});
  CHECK(same_bits(run_places(*network, 11, all, {0})[0], first[0]));
  CHECK_FALSE(same_bits(first[0], second[0]));
}

TEST_CASE("two executors of one thread count give the same bits; Winograd and direct agree") {
  const test::InceptionGraph net = test::inception_graph(2, 50, 8);
  const std::vector<Tap> taps = inception_taps(net);
  const Nhwc images(random_images({3, 3, 64, 64}, 9));
  const auto one = run_places(*compile_cpu(net.graph, taps, {3, 3, 64, 64}), taps.size(), images, {0, 1, 2});
  const auto two = run_places(*compile_cpu(net.graph, taps, {3, 3, 64, 64}), taps.size(), images, {0, 1, 2});
  CHECK(same_bits(one[2], two[2]));
  const auto direct_network = compile_cpu(net.graph, taps, {3, 3, 64, 64}, {.conv = ConvAlgorithm::kDirect});
  for (const LayerTime& layer : direct_network->profile(*stream())) {
    CHECK(layer.implementation.find("wino") == std::string::npos);
  }
  const auto direct = run_places(*direct_network, taps.size(), images, {0, 1, 2});
  double difference = 0, norm = 0;
  for (size_t i = 0; i < one[1].size(); ++i) {
    difference += std::pow(one[1][i] - direct[1][i], 2);
    norm += std::pow(direct[1][i], 2);
  }
  // Ten 3x3 layers in a row, each about 1e-6 apart, add up to 1e-5 at most.
  CHECK(std::sqrt(difference / norm) < 1e-5);
}

TEST_CASE("the whole network agrees with the reference, with any number of threads") {
  const test::InceptionGraph net = test::inception_graph(8, 20, 10);
  std::vector<ValueId> values = net.blocks;
  for (const auto& branches : net.branches) values.insert(values.end(), branches.begin(), branches.end());
  values.push_back(net.logits);
  values.push_back(net.prob);
  const Array images = random_images({2, 3, 48, 64}, 11);
  for (const int threads : {1, 2, 3, 7}) {
    // Rounding of some 20 layers, each near 1e-6, in a chain that neither grows nor shrinks it much.
    CHECK(test::worst_error(net.graph, values, images, {.threads = threads}) < 2e-5);
  }
}

TEST_CASE("taps: branches, ranges, joined parts, the input, values before their ReLU") {
  const test::InceptionGraph net = test::inception_graph(4, 10, 12);
  const Array images = random_images({3, 3, 64, 64}, 13);
  const std::vector<Array> expected = reference::run_network(net.graph, images);
  const auto want = [&](ValueId value) { return reference::tokens(expected[static_cast<size_t>(value)]); };
  const ValueId whole = net.blocks[3], branch = net.branches[4][2], next = net.blocks[4];
  const ValueId before_relu = net.graph.nodes[static_cast<size_t>(net.graph.producer(branch))].inputs[0];
  const int64_t channels = net.graph.value(whole).shape[1];
  const std::vector<Tap> taps{
      {.name = "slice", .parts = {{whole, 3, 37}}},
      {.name = "joined", .parts = {{next, 5, 21}, {whole, 0, channels}, {branch, 1, 2}}},
      {.name = "pre", .parts = {{before_relu, 0, 7}}},
      {.name = "image", .parts = {{net.graph.input, 0, 3}}},
  };
  const auto network = compile_cpu(net.graph, taps, images.shape, {.max_batch = 5});
  const Nhwc input(images);
  network->run(*stream(), input.view);
  for (size_t t = 0; t < taps.size(); ++t) {
    CAPTURE(taps[t].name);
    const TapOutput tap = network->tap(t);
    CHECK(tap.n == 3);
    CHECK(tap.has_grid);
    CHECK(tap.tokens().shape[0] == 3 * tap.height * tap.width);
    REQUIRE(tap.tokens().shape[1] == taps[t].width());
    int64_t column = 0;
    double worst = 0;
    for (const TapPart& part : taps[t].parts) {
      const Array rows = want(part.value);
      REQUIRE(rows.dim(0) == tap.tokens().shape[0]);
      for (int64_t c = part.begin; c < part.end; ++c, ++column) {
        for (int64_t i = 0; i < rows.dim(0); ++i) {
          const double expected_number = rows.data[static_cast<size_t>(i * rows.dim(1) + c)];
          worst = std::max(worst, std::abs(expected_number - tap.tokens()(i, column)));
        }
      }
    }
    CHECK(worst < 1e-4);  // activations are of order 1: a wrong channel or row would be off by about that
  }
}

TEST_CASE("rows beyond this run's images are not shown, earlier results do not shine through") {
  const test::InceptionGraph net = test::inception_graph(8, 10, 14);
  const std::vector<Tap> taps{whole_tap(net.graph, net.prob), whole_tap(net.graph, net.blocks[0])};
  const auto network = compile_cpu(net.graph, taps, {6, 3, 64, 64});
  CHECK(network->tap(0).tokens().shape[0] == 0);  // nothing was run
  const Nhwc images(random_images({6, 3, 64, 64}, 15));
  network->run(*stream(), images.view);
  CHECK(network->tap(0).tokens().shape[0] == 6);
  CHECK_FALSE(network->tap(0).has_grid);
  CHECK(network->tap(0).height == 1);
  network->run(*stream(), images.view.rows(2, 3));
  CHECK(network->tap(0).tokens().shape[0] == 3);
  CHECK(network->tap(1).tokens().shape[0] == 3 * network->tap(1).height * network->tap(1).width);
}

TEST_CASE("images with other strides, and 8-bit images") {
  const test::InceptionGraph net = test::inception_graph(8, 10, 16);
  std::vector<uint8_t> pixels(2 * 48 * 52 * 3);
  Random random(17, 0);
  for (uint8_t& pixel : pixels) pixel = static_cast<uint8_t>(random.below(256));
  const View<const uint8_t, 4> bytes(pixels.data(), {2, 48, 52, 3});
  for (const Preprocess& preprocess : {caffe_preprocess(), lucid_preprocess(), torchvision_preprocess()}) {
    CAPTURE(preprocess.name);
    NetworkOptions options;
    options.taps = {whole_tap(net.graph, net.graph.input), whole_tap(net.graph, net.logits)};
    options.max_batch = 2;
    options.height = 48;
    options.width = 52;
    options.preprocess = preprocess;
    const auto network = cpu::CpuBackend(2).make_network(net.graph, options);
    network->run(*stream(), bytes);
    const std::vector<float> from_bytes = tokens_of(*network, 1);
    std::vector<float> planar(pixels.size());  // NCHW, as an input with strides
    double worst = 0;
    for (int64_t i = 0; i < 2 * 48 * 52; ++i) {
      for (int64_t c = 0; c < 3; ++c) {
        const auto index = static_cast<size_t>(c);
        const double level = pixels[static_cast<size_t>(i * 3 + preprocess.order[index])];
        const double value =
            (level * preprocess.range / 255.0 - preprocess.mean[index]) / preprocess.stddev[index];
        worst = std::max(worst, std::abs(value - network->tap(0).tokens()(i, c)));
        planar[static_cast<size_t>((i / (48 * 52) * 3 + c) * 48 * 52 + i % (48 * 52))] =
            network->tap(0).tokens()(i, c);
      }
    }
    CHECK(worst < 1e-5);  // one rounding of numbers up to 151: 8e-6
    network->run(*stream(),
                 View<const float, 4>(planar.data(), {2, 48, 52, 3}, {3 * 48 * 52, 52, 1, 48 * 52}));
    CHECK(same_bits(tokens_of(*network, 1), from_bytes));
  }
}

TEST_CASE("errors name what does not fit") {
  const test::InceptionGraph net = test::inception_graph(8, 10, 18);
  const std::vector<Tap> taps{whole_tap(net.graph, net.prob)};
  const auto network = compile_cpu(net.graph, taps, {2, 3, 48, 48});
  const Nhwc images(random_images({3, 3, 48, 48}, 19)), small(random_images({1, 3, 47, 48}, 19));
  CHECK_THROWS_WITH_AS(network->run(*stream(), images.view),
                       "images [3, 48, 48, 3] do not fit the compiled network, which takes [1..2, 48, 48, 3]",
                       ShapeError);
  CHECK_THROWS_AS(network->run(*stream(), images.view.rows(0, 0)), ShapeError);
  CHECK_THROWS_AS(network->run(*stream(), small.view), ShapeError);
  network->run(*stream(), images.view.rows(0, 2));  // still works
  CHECK(network->tap(0).n == 2);
  CHECK_THROWS_AS(network->tap(1), InputError);

  CHECK_THROWS_AS(compile_cpu(net.graph, {}, {1, 3, 48, 48}), InputError);
  CHECK_THROWS_AS(compile_cpu(net.graph, taps, {1, 3, 0, 48}), InputError);
  CHECK_THROWS_AS(compile_cpu(net.graph, taps, {1, 3, 48, 48}, {.max_batch = int64_t{1} << 50}), DeviceError);
  CHECK_THROWS_AS(compile_cpu(net.graph, taps, {1, 3, int64_t{1} << 24, int64_t{1} << 24}), DeviceError);
  CHECK_THROWS_AS(compile_cpu(net.graph, {{"bad", {{net.prob, 0, 11}}}}, {1, 3, 48, 48}), ShapeError);
  CHECK_THROWS_AS(compile_cpu(net.graph, {{"bad", {{net.prob, 4, 4}}}}, {1, 3, 48, 48}), ShapeError);
  CHECK_THROWS_AS(compile_cpu(net.graph, {{"bad", {{9999, 0, 1}}}}, {1, 3, 48, 48}), InputError);
  CHECK_THROWS_AS(
      compile_cpu(net.graph, {{"bad", {{net.blocks[0], 0, 1}, {net.blocks[2], 0, 1}}}}, {1, 3, 48, 48}),
      ShapeError);
}

TEST_CASE("the CPU refuses precisions that it does not compute in") {
  const test::InceptionGraph net = test::inception_graph(8, 10, 22);
  NetworkOptions options;
  options.taps = {whole_tap(net.graph, net.prob)};
  options.height = options.width = 48;
  options.precision = NetworkPrecision::kF32;
  CHECK_NOTHROW(cpu::CpuBackend(1).make_network(net.graph, options));
  options.precision = NetworkPrecision::kBf16;
  CHECK_THROWS_WITH_AS(cpu::CpuBackend(1).make_network(net.graph, options),
                       "the network's precision bf16 is for CUDA devices; the CPU computes in f32",
                       InputError);
}

TEST_CASE("profile names every layer and counts the operations") {
  GraphBuilder build(3, 20);
  const ValueId first = build.conv(build.input(), 32, window(3, 1, 1));
  const ValueId dst = build.linear(first, 32 * 80, 10);
  const auto network = compile_cpu(build.graph({dst}), {whole_tap(build.graph({dst}), dst)}, {2, 3, 8, 10});
  const std::vector<LayerTime> layers = network->profile(*stream());
  REQUIRE(layers.size() == 3);
  CHECK(layers[0].op == "Conv");
  CHECK(layers[0].flops == 2 * 32 * 3 * 9 * 80 * 2);
  CHECK_FALSE(layers[0].implementation.starts_with("ref"));
  CHECK(layers[1].flops == 2 * 32 * 80 * 10 * 2);
  CHECK(layers[2].op == "Capture");
  for (const LayerTime& layer : layers) CHECK(layer.milliseconds >= 0);
}

TEST_CASE("no layer of InceptionV1 runs on oneDNN's reference code") {
  const test::InceptionGraph net = test::inception_graph(1, 100, 21);
  for (int64_t batch = 1; batch <= 32; batch += batch < 4 ? 1 : 7) {
    for (const ConvAlgorithm conv : {ConvAlgorithm::kAuto, ConvAlgorithm::kDirect}) {
      const auto network = compile_cpu(net.graph, inception_taps(net), {batch, 3, 64, 64}, {.conv = conv});
      for (const LayerTime& layer : network->profile(*stream())) {
        CAPTURE(layer.node);
        CHECK_FALSE(layer.implementation.starts_with("ref"));
      }
    }
  }
}

TEST_CASE("a batch is divided evenly: few images are computed in vain, few threads idle") {
  for (const int threads : {1, 2, 3, 8}) {
    for (int64_t batch = 1; batch <= 100; ++batch) {
      CAPTURE(threads);
      CAPTURE(batch);
      const cpu::Division division = cpu::divide(batch, 224, 224, threads);
      CHECK(division.lanes * division.threads == threads);
      CHECK((division.lanes == 1 || division.threads == 1));
      CHECK(division.images >= 1);
      CHECK(division.images <= (division.lanes == 1 ? 8 : 4));
      const int64_t chunks = (batch + division.images - 1) / division.images;
      CHECK(chunks * division.images - batch < chunks);
      // What the busiest lane computes, against a fair share.
      const int64_t rounds = (chunks + division.lanes - 1) / division.lanes;
      if (division.lanes > 1)
        CHECK(3 * rounds * division.images * division.lanes <= 4 * batch + 3 * division.lanes * 4);
    }
  }
  CHECK(cpu::divide(1, 224, 224, 2).lanes == 1);
  CHECK(cpu::divide(2, 224, 224, 2).lanes == 2);
  CHECK(cpu::divide(5, 224, 224, 4).lanes == 1);
  CHECK(cpu::divide(32, 2000, 2000, 2).images == 1);
}
