// Every op beside the double-precision reference.
//
// Errors are norms: |got - want| / |want|. Rounding a sum of K products one by one in float32 gives about
// 2^-24 sqrt(K) when the roundings are independent. What a backend's other ways of computing add to that is
// said by network_device.h.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "tests/network_cases/network_device.h"
#include "tests/reference/graph_builder.h"

using namespace branchsae;
using reference::GraphBuilder;
using reference::random_images;
using reference::window;
using test::NetworkWay;
using test::usual_way;

namespace {

constexpr double kRounding = 6e-8;  // 2^-24
constexpr double kElementTolerance = 3 * kRounding;
constexpr double kSumTolerance = 1e-6;  // of up to some 150 products, with a few roundings before and after

double sum_tolerance(int64_t products) {
  return kRounding * (4 + std::sqrt(static_cast<double>(products)));
}

/// Of sums that float32 computes with this error, in a few layers, with 3x3 convolutions among them or
/// without.
double tolerance(const NetworkWay& way, double sum, bool three_by_three = false) {
  return std::max({sum, way.short_numbers, three_by_three ? way.three_by_three : 0});
}

/// The same for twice as many layers.
double deep_tolerance(const NetworkWay& way, bool three_by_three = false) {
  return std::max(tolerance(way, kSumTolerance, three_by_three), 2 * way.short_numbers);
}

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct ConvCase {
  int64_t inputs, outputs;
  std::array<int64_t, 2> kernel, stride, pad_begin, pad_end, dilation;
  int64_t groups, height, width, batch;
};

Window window_of(const ConvCase& c) {
  Window result;
  result.kernel = c.kernel;
  result.stride = c.stride;
  result.pad_begin = c.pad_begin;
  result.pad_end = c.pad_end;
  result.dilation = c.dilation;
  return result;
}

double conv_error(const ConvCase& c, bool relu, const NetworkWay& way) {
  GraphBuilder build(c.inputs, 7);
  const ValueId dst = build.conv(build.input(), c.outputs, window_of(c), c.groups, relu);
  const Graph graph = build.graph({dst});
  return way.worst_error(graph, {dst}, random_images({c.batch, c.inputs, c.height, c.width}, 8));
}

/// One op on images of these sizes, after a convolution so that its input has the layout of one.
template <class AddOp>
double op_error(int64_t channels, int64_t height, int64_t width, const AddOp& add_op, int64_t batch = 3,
                const NetworkWay& way = usual_way()) {
  GraphBuilder build(3, 11);
  const ValueId src = build.conv(build.input(), channels, window(1));
  const ValueId dst = add_op(build, src);
  const Graph graph = build.graph({dst});
  return way.worst_error(graph, {dst}, random_images({batch, 3, height, width}, 12));
}

}  // namespace

TEST_CASE("convolution") {
  const ConvCase cases[] = {
      // GoogLeNet's kinds: the image's, 1x1, 3x3, 5x5
      {3, 64, {7, 7}, {2, 2}, {3, 3}, {3, 3}, {1, 1}, 1, 37, 30, 2},
      {48, 32, {1, 1}, {1, 1}, {0, 0}, {0, 0}, {1, 1}, 1, 14, 14, 3},
      {64, 96, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 1, 14, 14, 8},
      {32, 64, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 1, 7, 7, 5},
      {192, 16, {5, 5}, {1, 1}, {2, 2}, {2, 2}, {1, 1}, 1, 9, 9, 2},
      // channels that fill no block or group
      {3, 5, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 1, 8, 9, 3},
      {24, 40, {5, 5}, {1, 1}, {2, 2}, {2, 2}, {1, 1}, 1, 6, 7, 2},
      {17, 19, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 1, 11, 13, 3},
      {1, 1, {1, 1}, {1, 1}, {0, 0}, {0, 0}, {1, 1}, 1, 1, 1, 1},
      {5, 508, {1, 1}, {1, 1}, {0, 0}, {0, 0}, {1, 1}, 1, 4, 4, 2},
      // windows
      {16, 16, {1, 7}, {1, 1}, {0, 3}, {0, 3}, {1, 1}, 1, 9, 12, 2},
      {16, 16, {7, 1}, {1, 1}, {3, 0}, {3, 0}, {1, 1}, 1, 9, 12, 2},
      {16, 32, {3, 3}, {2, 2}, {0, 0}, {1, 1}, {1, 1}, 1, 10, 11, 2},
      {16, 32, {3, 3}, {1, 1}, {2, 0}, {0, 1}, {1, 1}, 1, 10, 11, 2},
      {16, 32, {3, 3}, {3, 2}, {1, 1}, {1, 1}, {1, 1}, 1, 10, 11, 2},
      {32, 16, {3, 3}, {1, 1}, {2, 2}, {2, 2}, {2, 2}, 1, 12, 9, 2},
      {16, 16, {2, 4}, {1, 1}, {0, 1}, {1, 2}, {1, 1}, 1, 8, 8, 2},
      {16, 16, {3, 3}, {1, 1}, {4, 4}, {4, 4}, {1, 1}, 1, 5, 5, 1},
      {16, 16, {3, 3}, {2, 2}, {1, 1}, {0, 0}, {1, 1}, 1, 2, 2, 1},
      // groups: whole ones, and those whose channels are padded
      {32, 64, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 2, 9, 9, 2},
      {6, 10, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 2, 9, 9, 2},
      {24, 24, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 24, 8, 8, 2},
      {48, 48, {3, 3}, {2, 2}, {1, 1}, {1, 1}, {1, 1}, 3, 8, 8, 3},
  };
  for (const ConvCase& c : cases) {
    CAPTURE(c.inputs);
    CAPTURE(c.outputs);
    CAPTURE(c.kernel[0]);
    CAPTURE(c.groups);
    const double sum = sum_tolerance(c.inputs / c.groups * c.kernel[0] * c.kernel[1]);
    const bool three_by_three = c.kernel == std::array<int64_t, 2>{3, 3};
    for (const NetworkWay& way : test::arithmetic_ways()) {
      CAPTURE(way.name);
      CHECK(conv_error(c, false, way) < tolerance(way, sum, three_by_three));
      CHECK(conv_error(c, true, way) < tolerance(way, sum, three_by_three));
    }
  }
}

TEST_CASE("convolution with ONNX's automatic padding") {
  for (const AutoPad pad : {AutoPad::kSameUpper, AutoPad::kSameLower}) {
    for (const int64_t stride : {1, 2}) {
      const auto add = [&](GraphBuilder& build, ValueId src) {
        Window sliding = window(4, stride);
        sliding.auto_pad = pad;
        return build.conv(src, 32, sliding);
      };
      CHECK(op_error(16, 9, 10, add) < kSumTolerance);
    }
  }
}

TEST_CASE("images of any number of channels, read by a convolution") {
  for (const int64_t channels : {1, 2, 4, 5, 16}) {
    CAPTURE(channels);
    GraphBuilder build(channels, 3);
    const ValueId dst = build.conv(build.input(), 24, window(3, 2, 1));
    const Graph graph = build.graph({dst});
    for (const NetworkWay& way : test::arithmetic_ways()) {
      CAPTURE(way.name);
      CHECK(way.worst_error(graph, {dst}, random_images({3, channels, 11, 10}, 4)) <
            tolerance(way, kSumTolerance));
    }
  }
}

TEST_CASE("max pool") {
  for (const int64_t channels : {3, 16, 20, 64}) {
    for (const bool ceil_mode : {false, true}) {
      for (const auto& [kernel, stride, pad] :
           {std::array<int64_t, 3>{3, 2, 0}, {3, 1, 1}, {2, 2, 0}, {5, 3, 2}}) {
        CAPTURE(channels);
        CAPTURE(kernel);
        const Window sliding = window(kernel, stride, pad);
        const auto add = [&](GraphBuilder& build, ValueId src) {
          return build.add(MaxPoolOp{sliding, ceil_mode}, src);
        };
        CHECK(op_error(channels, 14, 13, add) < kSumTolerance);  // of the convolution before it
      }
    }
  }
}

TEST_CASE("max pool with dilation, one-sided padding and an infinite border") {
  Window sliding = window(3, 2);
  sliding.dilation = {2, 1};
  sliding.pad_end = {1, 2};
  CHECK(op_error(17, 12, 9, [&](GraphBuilder& build, ValueId src) {
          return build.add(MaxPoolOp{sliding, true}, src);
        }) < kSumTolerance);
  for (const int64_t channels : {18, 20}) {
    CAPTURE(channels);
    CHECK(op_error(channels, 8, 8, [&](GraphBuilder& build, ValueId src) {
            PadOp pad;
            pad.begin = pad.end = {1, 1};
            pad.value = -kInfinity;
            const ValueId padded = build.add(pad, src);
            return build.conv(build.add(MaxPoolOp{window(3, 2), false}, padded), 8, window(1));
          }) < kSumTolerance);
  }
}

TEST_CASE("average pool") {
  for (const int64_t channels : {5, 32}) {
    for (const bool ceil_mode : {false, true}) {
      for (const bool include : {false, true}) {
        Window sliding = window(3, 2, 1);
        sliding.pad_end = {0, 1};
        const auto add = [&](GraphBuilder& build, ValueId src) {
          return build.add(AveragePoolOp{sliding, ceil_mode, include}, src);
        };
        CHECK(op_error(channels, 10, 11, add) < kSumTolerance);
      }
    }
  }
  CHECK(op_error(48, 7, 7, [](GraphBuilder& build, ValueId src) {
          return build.add(AveragePoolOp{window(7), false, false}, src);
        }) < kSumTolerance);
}

TEST_CASE("global average pool, also over a large grid") {
  const auto add = [](GraphBuilder& build, ValueId src) { return build.add(GlobalAveragePoolOp{}, src); };
  CHECK(op_error(40, 7, 7, add) < kSumTolerance);
  CHECK(op_error(3, 150, 170, add, 1) < kSumTolerance);
}

TEST_CASE("local response normalisation") {
  const LrnOp operations[] = {{5, 1e-4F, 0.75F, 1.0F}, {5, 1.0F, 0.75F, 1.0F},  {1, 0.5F, 0.75F, 2.0F},
                              {4, 2.0F, 0.75F, 1.0F},  {7, 1.0F, 0.5F, 1.0F},   {9, 9e-4F, 0.5F, 2.0F},
                              {3, 1.0F, 1.0F, 0.25F},  {30, 3.0F, 0.75F, 0.5F}, {5, 1.0F, 0.9F, 1.0F}};
  for (const LrnOp& op : operations) {
    for (const int64_t channels : {3, 16, 21, 64}) {
      CAPTURE(op.size);
      CAPTURE(channels);
      const auto add = [&](GraphBuilder& build, ValueId src) { return build.add(op, src); };
      for (const NetworkWay& way : test::arithmetic_ways()) {
        CAPTURE(way.name);
        CHECK(op_error(channels, 5, 9, add, 3, way) < tolerance(way, kSumTolerance));
      }
    }
  }
}

TEST_CASE("element by element, where padding channels would not stay zero") {
  // What stands in the padding channels would leak into the sums over channels of the normalisation, and NaN
  // from 0 / 0 or -infinity through the zero weights of a convolution.
  PadOp ones;
  ones.begin = {1, 0};
  ones.end = {0, 2};
  ones.value = 1.0F;
  const LrnOp neighbours{5, 1.0F, 0.75F, 1.0F};
  for (const int64_t channels : {5, 16, 22, 24}) {
    CAPTURE(channels);
    for (const Op& op : {Op(ReluOp{}), Op(ClipOp{0.5F, 1.5F}), Op(ones)}) {
      CAPTURE(op_name(op));
      CHECK(op_error(channels, 6, 5, [&](GraphBuilder& build, ValueId src) {
              return build.add(neighbours, build.add(op, src));
            }) < kSumTolerance);
    }
    CHECK(op_error(channels, 6, 5, [](GraphBuilder& build, ValueId src) {
            const ValueId positive = build.add(ClipOp{0.5F, 2.0F}, src);
            const ValueId quotient =
                build.add(BinaryOp{BinaryOp::Kind::kDiv}, std::vector<ValueId>{build.affine(src), positive});
            return build.conv(quotient, 8, window(3, 1, 1));
          }) < tolerance(usual_way(), kSumTolerance, true));
  }
}

TEST_CASE("arithmetic on the image itself") {
  using Kind = BinaryOp::Kind;
  for (const Kind kind : {Kind::kAdd, Kind::kSub, Kind::kMul, Kind::kDiv}) {
    GraphBuilder build(3, 5);
    const ValueId shifted = build.affine(build.input());
    const ValueId positive = build.add(ClipOp{0.5F, 2.0F}, build.input());
    const ValueId mixed = build.add(BinaryOp{kind}, std::vector<ValueId>{shifted, positive});
    PadOp pad;
    pad.begin = pad.end = {2, 1};
    const ValueId padded = build.add(pad, build.add(ReluOp{}, mixed));
    const ValueId cropped = build.add(PadOp{{-1, 0}, {0, -2}, 0.0F}, padded);
    const ValueId dst = build.conv(padded, 16, window(3));
    const ValueId of_cropped = build.conv(cropped, 16, window(3));
    const Graph graph = build.graph({dst, of_cropped, mixed, padded, cropped, build.input()});
    const reference::Array images = random_images({2, 3, 9, 7}, 6);
    CHECK(usual_way().worst_error(graph, {mixed}, images) < kElementTolerance);
    CHECK(usual_way().worst_error(graph, {dst, of_cropped, mixed, padded, cropped, build.input()}, images) <
          tolerance(usual_way(), kSumTolerance, true));
  }
}

TEST_CASE("an image meets a convolution's value") {
  GraphBuilder build(3, 5);
  const ValueId blocked = build.conv(build.input(), 3, window(1));
  const ValueId sum = build.add(BinaryOp{BinaryOp::Kind::kAdd}, std::vector<ValueId>{build.input(), blocked});
  const ValueId both = build.concat({build.input(), blocked, sum});
  const ValueId pooled = build.add(MaxPoolOp{window(2, 2), false}, build.input());
  const ValueId normalised = build.add(LrnOp{3, 1.0F, 0.75F, 1.0F}, build.input());
  const Graph graph = build.graph({both, pooled, normalised});
  CHECK(usual_way().worst_error(graph, {both, pooled, normalised, build.input()},
                                random_images({2, 3, 6, 8}, 6)) < kSumTolerance);
}

TEST_CASE("concat: in place, shifted, nested, doubled, read again, of many parts") {
  for (const int64_t width : {16, 32, 6, 5}) {
    GraphBuilder build(3, 9);
    const ValueId first = build.conv(build.input(), width, window(1), 1, true);
    const ValueId second = build.conv(first, 2 * width, window(3, 1, 1), 1, true);
    const ValueId third = build.add(MaxPoolOp{window(3, 1, 1), false}, first);
    const ValueId inner = build.concat({first, second});
    const ValueId outer = build.concat({third, inner, first, first});
    const ValueId many =
        build.concat({third, first, third, first, second, first, third, first, third, second, first});
    const ValueId reads_slice = build.conv(third, 16, window(3, 1, 1));
    const ValueId reads_all = build.conv(outer, 16, window(5, 1, 2));
    const ValueId mean = build.linear(third, width * 36, 7);
    const std::vector<ValueId> few{outer, many, reads_slice, reads_all, mean};
    const std::vector<ValueId> all{first, second, third, inner, outer, many, reads_slice, reads_all, mean};
    // What nothing reads but a tap may be computed elsewhere than what the graph gives out.
    for (const auto& [outputs, batches] : {std::pair{few, std::vector<int64_t>{1, 3, 8}}, {all, {2}}}) {
      const Graph graph = build.graph(outputs);
      for (const int64_t batch : batches) {
        for (const NetworkWay& way : test::concat_ways()) {
          CAPTURE(width);
          CAPTURE(batch);
          CAPTURE(way.name);
          CHECK(way.worst_error(graph, all, random_images({batch, 3, 6, 6}, 10)) < deep_tolerance(way, true));
        }
      }
    }
  }
}

TEST_CASE("linear and softmax on grids and rows") {
  for (const int64_t channels : {7, 32}) {
    for (const auto& [batch, width] : {std::array<int64_t, 2>{4, 33}, {67, 73}}) {
      GraphBuilder build(3, 13);
      const ValueId src = build.conv(build.input(), channels, window(1));
      const ValueId direct = build.linear(src, channels * 20, width, true);
      const ValueId flat = build.flatten(src, channels * 20);
      const ValueId again = build.linear(flat, channels * 20, 10);
      const ValueId softmax = build.add(SoftmaxOp{}, again);
      const ValueId clipped = build.add(ClipOp{0.0F, 6.0F}, build.affine(direct));
      const ValueId joined = build.concat({direct, again});
      const ValueId pooled = build.add(SoftmaxOp{}, build.add(GlobalAveragePoolOp{}, src));
      const Graph graph = build.graph({softmax, clipped, pooled, joined, flat});
      for (const NetworkWay& way : test::arithmetic_ways()) {
        CAPTURE(channels);
        CAPTURE(batch);
        CAPTURE(way.name);
        CHECK(way.worst_error(graph, {direct, flat, again, softmax, clipped, joined, pooled},
                              random_images({batch, 3, 4, 5}, 14)) < deep_tolerance(way));
      }
    }
  }
}

TEST_CASE("softmax of large numbers does not overflow") {
  GraphBuilder build(3, 15);
  auto scale = std::make_shared<HostTensor>(Shape{3}), shift = std::make_shared<HostTensor>(Shape{3});
  for (float& number : scale->values()) number = 1000.0F;
  const ValueId mean = build.add(GlobalAveragePoolOp{}, build.input());
  const ValueId large = build.add(AffineOp{scale, shift}, mean);
  const ValueId dst = build.add(SoftmaxOp{}, large);
  // The means' float32 rounding, 1e-7 of values near 100, is magnified by the exponential: 1e-5.
  CHECK(usual_way().worst_error(build.graph({dst}), {dst}, random_images({3, 3, 4, 4}, 16)) < 1e-5);
}
