#include <doctest/doctest.h>

#include <string>

#include "engine/error.h"
#include "engine/passes.h"
#include "tests/reference/graph_builder.h"

using namespace branchsae;
using reference::GraphBuilder;
using reference::window;

namespace {

Window pooling(int64_t kernel, int64_t stride, int64_t begin, int64_t end,
               AutoPad auto_pad = AutoPad::kNone) {
  Window sliding = window(kernel, stride);
  sliding.pad_begin = {begin, begin};
  sliding.pad_end = {end, end};
  sliding.auto_pad = auto_pad;
  return sliding;
}

/// {pad_begin, pad_end, out}
std::vector<int64_t> extent(const Window& sliding, int64_t in, bool ceil_mode = false) {
  const WindowExtent found = window_extent(sliding, 0, in, ceil_mode);
  return {found.pad_begin, found.pad_end, found.out};
}

Shape shape_at(const GraphBuilder& build, ValueId id, int64_t height = 9, int64_t width = 8) {
  return infer_shapes(build.graph({id}), 2, height, width).at(static_cast<size_t>(id));
}

/// The one-line message of the ShapeError, "" without one.
std::string shape_error(const GraphBuilder& build, ValueId id, int64_t height = 9, int64_t width = 8) {
  try {
    shape_at(build, id, height, width);
  } catch (const ShapeError& error) {
    CHECK(std::string(error.what()).find('\n') == std::string::npos);
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("window extent: rounding down, rounding up, and the dropped last window") {
  CHECK(extent(pooling(3, 2, 0, 0), 112) == std::vector<int64_t>{0, 0, 55});
  CHECK(extent(pooling(3, 2, 0, 0), 112, true) == std::vector<int64_t>{0, 0, 56});
  CHECK(extent(pooling(3, 2, 0, 1), 112) == std::vector<int64_t>{0, 1, 56});
  CHECK(extent(pooling(3, 2, 1, 1), 6, true) == std::vector<int64_t>{1, 1, 4});
  // Rounded up there would be a fourth window, starting at padded position 6 of 1 + 5 real ones: dropped.
  CHECK(extent(pooling(2, 2, 1, 1), 5, true) == std::vector<int64_t>{1, 1, 3});
  CHECK(extent(pooling(1, 3, 0, 0), 4, true) == std::vector<int64_t>{0, 0, 2});
  CHECK(extent(pooling(2, 3, 0, 0), 3, true) == std::vector<int64_t>{0, 0, 1});
  CHECK(extent(pooling(3, 2, 0, 0), 2, true) == std::vector<int64_t>{0, 0, 1});
  CHECK(extent(pooling(3, 2, 0, 0), 1, true) == std::vector<int64_t>{0, 0, 0});
}

TEST_CASE("window extent: automatic padding") {
  CHECK(extent(pooling(3, 2, 0, 0, AutoPad::kSameUpper), 224) == std::vector<int64_t>{0, 1, 112});
  CHECK(extent(pooling(3, 2, 0, 0, AutoPad::kSameLower), 224) == std::vector<int64_t>{1, 0, 112});
  CHECK(extent(pooling(7, 2, 0, 0, AutoPad::kSameUpper), 224) == std::vector<int64_t>{2, 3, 112});
  CHECK(extent(pooling(1, 3, 0, 0, AutoPad::kSameUpper), 6) == std::vector<int64_t>{0, 0, 2});
  Window dilated = pooling(3, 1, 0, 0, AutoPad::kSameUpper);
  dilated.dilation = {2, 2};
  CHECK(extent(dilated, 10) == std::vector<int64_t>{2, 2, 10});
}

TEST_CASE("window extent: what does not fit has no positions, what is absurd is refused") {
  CHECK(window_extent(window(5), 0, 4, false).out == 0);
  CHECK(window_extent(window(5), 0, 4, true).out == 0);
  Window absurd = window(3);
  absurd.kernel[0] = int64_t{1} << 62;
  CHECK_THROWS_AS(window_extent(absurd, 0, 224, false), ShapeError);
  CHECK_THROWS_AS(window_extent(window(3), 0, 0, false), ShapeError);
  CHECK_THROWS_AS(window_extent(window(3, 0), 0, 10, false), ShapeError);
  CHECK_THROWS_AS(window_extent(window(3, 1, -1), 0, 10, false), ShapeError);
}

TEST_CASE("shapes of every op") {
  GraphBuilder build(4);
  const ValueId data = build.input();
  CHECK(shape_at(build, build.conv(data, 6, window(3, 2, 1), 2)) == Shape{2, 6, 5, 4});
  CHECK(shape_at(build, build.add(MaxPoolOp{window(3, 2), true}, data)) == Shape{2, 4, 4, 4});
  CHECK(shape_at(build, build.add(AveragePoolOp{window(3, 2), false, false}, data)) == Shape{2, 4, 4, 3});
  const ValueId pooled = build.add(GlobalAveragePoolOp{}, data);
  CHECK(shape_at(build, pooled) == Shape{2, 4, 1, 1});
  CHECK(shape_at(build, build.add(SoftmaxOp{}, pooled)) == Shape{2, 4, 1, 1});
  CHECK(shape_at(build, build.linear(pooled, 4, 7)) == Shape{2, 7});
  CHECK(shape_at(build, build.flatten(data, 288)) == Shape{2, 288});
  CHECK(shape_at(build, build.linear(data, 288, 7)) == Shape{2, 7});
  CHECK(shape_at(build, build.add(PadOp{{1, 2}, {3, -1}, 0.0F}, data)) == Shape{2, 4, 13, 9});
  CHECK(shape_at(build, build.concat({data, build.affine(data), build.add(ReluOp{}, data)})) ==
        Shape{2, 12, 9, 8});
  for (const Op& op : {Op(LrnOp{}), Op(ClipOp{0, 6}), Op(ReluOp{})}) {
    CHECK(shape_at(build, build.add(op, data)) == Shape{2, 4, 9, 8});
  }
  const ValueId sum = build.add(BinaryOp{BinaryOp::Kind::kAdd}, std::vector<ValueId>{data, data});
  CHECK(shape_at(build, sum) == Shape{2, 4, 9, 8});
}

TEST_CASE("values that nothing computes have no shape") {
  GraphBuilder build(3);
  const ValueId dead = build.add(ReluOp{}, build.input());
  const ValueId live = build.conv(build.input(), 2, window(1));
  const std::vector<Shape> shapes = infer_shapes(prune(build.graph({live}), {live}), 1, 5, 5);
  CHECK(shapes.at(static_cast<size_t>(dead)).empty());
  CHECK(shapes.at(static_cast<size_t>(live)) == Shape{1, 2, 5, 5});
}

TEST_CASE("an image size that the graph does not take is refused, naming node and shapes") {
  GraphBuilder build(3);
  const ValueId conv = build.conv(build.input(), 4, window(5));
  const std::string small = shape_error(build, conv, 4, 8);
  CHECK(contains(small, "Conv_1"));
  CHECK(contains(small, "[2, 3, 4, 8]"));
  CHECK(contains(small, "5x5"));
  CHECK(shape_error(build, conv, 5, 5).empty());

  const ValueId linear = build.linear(conv, 4 * 5 * 4, 10);
  CHECK(shape_error(build, linear, 9, 8).empty());
  const std::string other = shape_error(build, linear, 10, 8);
  CHECK(contains(other, "Linear_2"));
  CHECK(contains(other, "[10, 80]"));
  CHECK(contains(other, "96"));
}

TEST_CASE("channels that do not fit are refused") {
  GraphBuilder build(3);
  const ValueId wide = build.conv(build.input(), 4, window(1));
  Graph graph = build.graph({wide});
  graph.values[0].shape[1] = 5;
  CHECK_THROWS_AS(infer_shapes(graph, 1, 9, 8), ShapeError);
  const ValueId half = build.add(MaxPoolOp{window(2, 2), false}, wide);
  CHECK(contains(shape_error(build, build.concat({wide, half})), "differ beyond their channels"));
  CHECK(contains(
      shape_error(build, build.add(BinaryOp{BinaryOp::Kind::kMul}, std::vector<ValueId>{wide, half})),
      "equal"));
}

TEST_CASE("a pooling position over padding alone has no value and is refused") {
  GraphBuilder build(2);
  // Dilation 4: the window steps from padding to padding over a map of 2.
  Window sliding = window(2, 1, 2);
  sliding.dilation = {4, 4};
  const ValueId pooled = build.add(MaxPoolOp{sliding, false}, build.input());
  CHECK(contains(shape_error(build, pooled, 2, 9), "padding only"));
  CHECK(shape_error(build, pooled, 9, 9).empty());
  // Counted padding has a value: zero.
  CHECK(shape_error(build, build.add(AveragePoolOp{sliding, false, true}, build.input()), 2, 9).empty());
}

TEST_CASE("sizes: a fixed input takes its own height and width at any batch") {
  GraphBuilder build(3);
  Graph graph = build.graph({build.conv(build.input(), 4, window(3))});
  graph.values[0].shape = {1, 3, 16, 16};
  CHECK(infer_shapes(graph, 7, 16, 16).at(1) == Shape{7, 4, 14, 14});
  CHECK_THROWS_AS(infer_shapes(graph, 1, 16, 17), ShapeError);
  CHECK_THROWS_AS(infer_shapes(graph, 0, 16, 16), ShapeError);
}

TEST_CASE("sizes beyond any memory are refused, not allocated") {
  GraphBuilder build(3);
  const ValueId conv = build.conv(build.input(), 4, window(3));
  CHECK_THROWS_AS(infer_shapes(build.graph({conv}), int64_t{1} << 40, 224, 224), ShapeError);
  CHECK_THROWS_AS(infer_shapes(build.graph({conv}), int64_t{1} << 29, int64_t{1} << 29, int64_t{1} << 29),
                  ShapeError);
  const ValueId grown = build.add(PadOp{{int64_t{1} << 40, 0}, {0, 0}, 0.0F}, build.input());
  CHECK_THROWS_AS(infer_shapes(build.graph({grown}), 1, 9, 9), InputError);
}
