// Convolution, pooling, padding and means: what the graph holds after loading.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "engine/error.h"
#include "tests/loader/onnx_builder.h"

using namespace branchsae;
using namespace branchsae::test;

namespace {

using Pair = std::array<int64_t, 2>;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

OnnxBuilder image_model(int64_t opset = 13, Shape shape = {1, 4, 9, 11}) {
  OnnxBuilder builder(opset);
  builder.input("x", shape).output("y");
  return builder;
}

template <class T>
const T& only_op(const Graph& graph) {
  REQUIRE(graph.nodes.size() == 1);
  return std::get<T>(graph.nodes[0].op);
}

Shape output_shape(const Graph& graph) {
  return graph.value(graph.outputs.at(0)).shape;
}

}  // namespace

TEST_CASE("Conv with every attribute") {
  OnnxBuilder builder = image_model();
  builder.weights("w", {6, 2, 3, 2}).weights("b", {6});
  builder.node("Conv", {"x", "w", "b"}, {"y"}, "conv")
      .integers("kernel_shape", {3, 2})
      .integers("strides", {2, 3})
      .integers("dilations", {2, 1})
      .integers("pads", {1, 2, 3, 4})
      .integer("group", 2);
  const Graph graph = builder.load();
  const auto& conv = only_op<ConvOp>(graph);
  CHECK(conv.groups == 2);
  CHECK(conv.window.kernel == Pair{3, 2});
  CHECK(conv.window.stride == Pair{2, 3});
  CHECK(conv.window.dilation == Pair{2, 1});
  CHECK(conv.window.pad_begin == Pair{1, 2});
  CHECK(conv.window.pad_end == Pair{3, 4});
  CHECK(conv.weight->shape() == Shape{6, 2, 3, 2});
  CHECK((*conv.bias)[5] == -1.0F);
  // (9 + 1 + 3 - 5) / 2 + 1 and (11 + 2 + 4 - 2) / 3 + 1
  CHECK(output_shape(graph) == Shape{kDynamic, 6, 5, 6});
}

TEST_CASE("Conv without bias, kernel_shape or known image size") {
  OnnxBuilder builder = image_model(13, {kDynamic, 4, kDynamic, 11});
  builder.weights("w", {2, 4, 1, 5});
  builder.node("Conv", {"x", "w"}, {"y"});
  const Graph graph = builder.load();
  CHECK((*only_op<ConvOp>(graph).bias)[1] == 0);
  CHECK(only_op<ConvOp>(graph).window.kernel == Pair{1, 5});
  CHECK(output_shape(graph) == Shape{kDynamic, 2, kDynamic, 7});
}

TEST_CASE("auto_pad") {
  const auto with = [](const char* mode, AutoPad expected, int64_t rows) {
    OnnxBuilder builder = image_model();
    builder.weights("w", {1, 4, 3, 3});
    builder.node("Conv", {"x", "w"}, {"y"})
        .text("auto_pad", mode)
        .integers("strides", {2, 2})
        .integers("pads", {0, 0, 0, 0});
    const Graph graph = builder.load();
    CHECK(only_op<ConvOp>(graph).window.auto_pad == expected);
    CHECK(output_shape(graph)[2] == rows);
  };
  with("NOTSET", AutoPad::kNone, 4);
  with("VALID", AutoPad::kNone, 4);
  with("SAME_UPPER", AutoPad::kSameUpper, 5);
  with("SAME_LOWER", AutoPad::kSameLower, 5);
  OnnxBuilder wrong = image_model();
  wrong.node("MaxPool", {"x"}, {"y"}).integers("kernel_shape", {2, 2}).text("auto_pad", "MAYBE");
  CHECK(contains(wrong.load_error(), "auto_pad 'MAYBE'"));
}

TEST_CASE("convolutions that do not fit are refused with node and shapes") {
  OnnxBuilder channels = image_model();
  channels.weights("w", {2, 3, 3, 3});
  channels.node("Conv", {"x", "w"}, {"y"}, "conv1");
  const std::string error = channels.load_error();
  CHECK(contains(error, "node 'conv1' (Conv)"));
  CHECK(contains(error, "[2, 3, 3, 3]"));
  CHECK(contains(error, "[?, 4, 9, 11]"));

  OnnxBuilder groups = image_model();
  groups.weights("w", {3, 2, 1, 1});
  groups.node("Conv", {"x", "w"}, {"y"}).integer("group", 2);
  CHECK(contains(groups.load_error(), "in 2 groups"));
  OnnxBuilder zero = image_model();
  zero.weights("w", {3, 4, 1, 1});
  zero.node("Conv", {"x", "w"}, {"y"}).integer("group", 0);
  CHECK(contains(zero.load_error(), "in 0 groups"));

  OnnxBuilder bias = image_model();
  bias.weights("w", {3, 4, 1, 1}).weights("b", {4});
  bias.node("Conv", {"x", "w", "b"}, {"y"});
  CHECK(contains(bias.load_error(), "bias of shape [4] does not fit 3"));

  OnnxBuilder large = image_model();
  large.weights("w", {1, 4, 10, 1});
  large.node("Conv", {"x", "w"}, {"y"});
  CHECK(contains(large.load_error(), "does not fit into its input of shape [?, 4, 9, 11]"));

  OnnxBuilder stated = image_model();
  stated.weights("w", {1, 4, 3, 3});
  stated.node("Conv", {"x", "w"}, {"y"}).integers("kernel_shape", {5, 5});
  CHECK(contains(stated.load_error(), "kernel_shape [5, 5] differs"));

  OnnxBuilder line = image_model();
  line.weights("w", {1, 4, 3});
  line.node("Conv", {"x", "w"}, {"y"});
  CHECK(contains(line.load_error(), "only two-dimensional"));

  OnnxBuilder moving = image_model();
  moving.node("Relu", {"x"}, {"w"});
  moving.node("Conv", {"x", "w"}, {"y"});
  CHECK(contains(moving.load_error(), "a constant is needed"));
}

TEST_CASE("window attributes out of range are refused") {
  for (const char* name : {"strides", "dilations", "kernel_shape"}) {
    for (const int64_t value : {int64_t{0}, int64_t{-1}, int64_t{1} << 40}) {
      OnnxBuilder builder = image_model();
      OnnxNode node = builder.node("MaxPool", {"x"}, {"y"});
      node.integers(name, {value, 1});
      if (std::string(name) != "kernel_shape") node.integers("kernel_shape", {2, 2});
      CHECK(contains(builder.load_error(), "is out of range"));
    }
  }
  OnnxBuilder negative = image_model();
  negative.node("MaxPool", {"x"}, {"y"}).integers("kernel_shape", {2, 2}).integers("pads", {-1, 0, 0, 0});
  CHECK(contains(negative.load_error(), "is out of range"));
  OnnxBuilder three = image_model();
  three.node("MaxPool", {"x"}, {"y"}).integers("kernel_shape", {2, 2, 2});
  CHECK(contains(three.load_error(), "has 3 numbers"));
  OnnxBuilder none = image_model();
  none.node("MaxPool", {"x"}, {"y"});
  CHECK(contains(none.load_error(), "kernel_shape [] has 0 numbers"));
  OnnxBuilder text = image_model();
  text.node("MaxPool", {"x"}, {"y"}).text("kernel_shape", "3x3");
  CHECK(contains(text.load_error(), "attribute 'kernel_shape' is not of type ints"));
}

TEST_CASE("MaxPool: ceil_mode, asymmetric pads, indices") {
  OnnxBuilder builder = image_model(10);
  builder.node("MaxPool", {"x"}, {"y", "indices"})
      .integers("kernel_shape", {3, 3})
      .integers("strides", {2, 2})
      .integers("pads", {0, 0, 1, 1})
      .integer("ceil_mode", 1);
  const Graph graph = builder.load();
  CHECK(only_op<MaxPoolOp>(graph).ceil_mode);
  CHECK(only_op<MaxPoolOp>(graph).window.pad_end == Pair{1, 1});
  // rows: ceil((9 + 1 - 3) / 2) + 1 = 5; columns: ceil((11 + 1 - 3) / 2) + 1 = 6
  CHECK(output_shape(graph) == Shape{kDynamic, 4, 5, 6});
  builder.output("indices");
  CHECK(contains(builder.load_error(), "second output"));

  OnnxBuilder padded = image_model();
  padded.node("MaxPool", {"x"}, {"y"}).integers("kernel_shape", {2, 2}).integers("pads", {2, 0, 0, 0});
  CHECK(contains(padded.load_error(), "padding only"));
}

TEST_CASE("AveragePool; over the whole map it is the global one") {
  OnnxBuilder part = image_model();
  part.node("AveragePool", {"x"}, {"y"})
      .integers("kernel_shape", {3, 3})
      .integer("count_include_pad", 1)
      .integers("pads", {1, 1, 1, 1});
  CHECK(only_op<AveragePoolOp>(part.load()).count_include_pad);

  const auto kind = [](const std::vector<int64_t>& kernel, const std::vector<int64_t>& pads, int64_t counts) {
    OnnxBuilder builder = image_model();
    builder.node("AveragePool", {"x"}, {"y"})
        .integers("kernel_shape", kernel)
        .integers("pads", pads)
        .integer("count_include_pad", counts);
    return ops_of(builder.load());
  };
  CHECK(kind({9, 11}, {0, 0, 0, 0}, 0) == "GlobalAveragePool");
  CHECK(kind({9, 11}, {0, 0, 0, 0}, 1) == "GlobalAveragePool");
  CHECK(kind({10, 12}, {0, 0, 1, 1}, 0) == "GlobalAveragePool");
  CHECK(kind({10, 12}, {0, 0, 1, 1}, 1) == "AveragePool");  // divides by 120, not by 99
  CHECK(kind({9, 10}, {0, 0, 0, 0}, 0) == "AveragePool");
  // Where the size is open, it stays what it is.
  OnnxBuilder open = image_model(13, {1, 4, kDynamic, kDynamic});
  open.node("AveragePool", {"x"}, {"y"}).integers("kernel_shape", {9, 11});
  CHECK(ops_of(open.load()) == "AveragePool");
}

TEST_CASE("GlobalAveragePool and ReduceMean over H and W") {
  OnnxBuilder global = image_model();
  global.node("GlobalAveragePool", {"x"}, {"y"});
  CHECK(output_shape(global.load()) == Shape{kDynamic, 4, 1, 1});

  OnnxBuilder kept = image_model();
  kept.node("ReduceMean", {"x"}, {"y"}).integers("axes", {-1, -2});
  CHECK(ops_of(kept.load()) == "GlobalAveragePool");
  CHECK(output_shape(kept.load()) == Shape{kDynamic, 4, 1, 1});

  OnnxBuilder dropped = image_model(18);
  dropped.integers("axes", {2}, {2, 3});
  dropped.node("ReduceMean", {"x", "axes"}, {"y"}).integer("keepdims", 0);
  CHECK(ops_of(dropped.load()) == "GlobalAveragePool Flatten");
  CHECK(output_shape(dropped.load()) == Shape{kDynamic, 4});
  CHECK(dropped.load().find_value("y") == dropped.load().outputs.at(0));

  OnnxBuilder other = image_model();
  other.node("ReduceMean", {"x"}, {"y"}).integers("axes", {1});
  CHECK(contains(other.load_error(), "the mean over axes [1]"));
  OnnxBuilder all = image_model();
  all.node("ReduceMean", {"x"}, {"y"});
  CHECK(contains(all.load_error(), "the mean over axes []"));
}

TEST_CASE("Pad as attribute, as inputs, and with axes") {
  OnnxBuilder attribute = image_model(9);
  attribute.node("Pad", {"x"}, {"y"})
      .integers("pads", {0, 0, 1, 2, 0, 0, 3, 4})
      .real("value", -std::numeric_limits<float>::infinity());
  const Graph graph = attribute.load();
  CHECK(only_op<PadOp>(graph).begin == Pair{1, 2});
  CHECK(only_op<PadOp>(graph).end == Pair{3, 4});
  CHECK(std::isinf(only_op<PadOp>(graph).value));
  CHECK(output_shape(graph) == Shape{kDynamic, 4, 13, 17});

  OnnxBuilder inputs = image_model();
  inputs.integers("pads", {8}, {0, 0, 0, 0, 0, 0, 1, 1}).floats("value", {}, {0.5F});
  inputs.node("Pad", {"x", "pads", "value"}, {"y"});
  CHECK(only_op<PadOp>(inputs.load()).value == 0.5F);
  CHECK(only_op<PadOp>(inputs.load()).end == Pair{1, 1});

  OnnxBuilder axes = image_model(18);
  axes.integers("pads", {2}, {1, 2}).integers("axes", {1}, {-1});
  axes.node("Pad", {"x", "pads", "", "axes"}, {"y"});
  CHECK(only_op<PadOp>(axes.load()).begin == Pair{0, 1});
  CHECK(only_op<PadOp>(axes.load()).end == Pair{0, 2});

  OnnxBuilder nothing = image_model();
  nothing.integers("pads", {8}, std::vector<int64_t>(8, 0));
  nothing.node("Pad", {"x", "pads"}, {"p"});
  nothing.node("Relu", {"p"}, {"y"});
  CHECK(ops_of(nothing.load()) == "Relu");
}

TEST_CASE("pads that are not supported are refused") {
  const auto error = [](const std::vector<int64_t>& pads, const char* mode) {
    OnnxBuilder builder = image_model(9);
    builder.node("Pad", {"x"}, {"y"}, "pad").integers("pads", pads).text("mode", mode);
    return builder.load_error();
  };
  CHECK(contains(error({0, 1, 0, 0, 0, 0, 0, 0}, "constant"), "only rows and columns"));
  CHECK(contains(error({0, 0, -1, 0, 0, 0, 0, 0}, "constant"), "only rows and columns"));
  CHECK(contains(error({0, 0, int64_t{1} << 50, 0, 0, 0, 0, 0}, "constant"), "only rows and columns"));
  CHECK(contains(error({1, 1}, "constant"), "has 2 numbers; 8 are needed"));
  CHECK(contains(error({0, 0, 1, 0, 0, 0, 0, 0}, "reflect"), "mode 'reflect'"));
}
