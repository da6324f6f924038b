// Reshaping, transposing and shape arithmetic: what folds away, what becomes Flatten, what is refused.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "engine/error.h"
#include "tests/loader/onnx_builder.h"

using namespace branchsae;
using namespace branchsae::test;

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

OnnxBuilder image_model(int64_t opset, Shape shape) {
  OnnxBuilder builder(opset);
  builder.input("x", shape).output("y");
  return builder;
}

Shape output_shape(const Graph& graph) {
  return graph.value(graph.outputs.at(0)).shape;
}

OnnxBuilder reshape_model(const Shape& shape, const std::vector<int64_t>& target, int64_t opset = 13) {
  OnnxBuilder builder = image_model(opset, shape);
  builder.integers("target", {static_cast<int64_t>(target.size())}, target);
  builder.node("Reshape", {"x", "target"}, {"y"}, "reshape");
  return builder;
}

}  // namespace

TEST_CASE("Flatten") {
  const auto flatten = [](Shape shape, int64_t axis) {
    OnnxBuilder builder = image_model(13, std::move(shape));
    builder.node("Flatten", {"x"}, {"y"}).integer("axis", axis);
    return builder.load();
  };
  CHECK(ops_of(flatten({1, 3, 4, 5}, 1)) == "Flatten");
  CHECK(output_shape(flatten({1, 3, 4, 5}, -3)) == Shape{kDynamic, 60});
  CHECK(output_shape(flatten({1, 3, kDynamic, 5}, 1)) == Shape{kDynamic, kDynamic});
  CHECK_THROWS_WITH_AS(flatten({1, 3, 4, 5}, 2), doctest::Contains("only axis 1"), InputError);
  CHECK_THROWS_AS(flatten({1, 3, 4, 5}, 0), InputError);
  CHECK_THROWS_AS(flatten({1, 3, 4, 5}, 9), InputError);

  OnnxBuilder twice = image_model(13, {1, 3, 4, 5});
  twice.node("Flatten", {"x"}, {"a"});
  twice.node("Flatten", {"a"}, {"b"});
  twice.node("Relu", {"b"}, {"y"});
  CHECK(ops_of(twice.load()) == "Flatten Relu");
}

TEST_CASE("Reshape to rows of features is Flatten, for any batch") {
  const Shape fixed{1, 3, 4, 5}, open{kDynamic, 3, 4, 5};
  for (const std::vector<int64_t>& target :
       {std::vector<int64_t>{1, 60}, {1, -1}, {-1, 60}, {0, 60}, {0, -1}}) {
    const Graph graph = reshape_model(fixed, target).load();
    CHECK(ops_of(graph) == "Flatten");
    CHECK(output_shape(graph) == Shape{kDynamic, 60});
  }
  for (const std::vector<int64_t>& target : {std::vector<int64_t>{-1, 60}, {0, -1}, {0, 60}}) {
    CHECK(ops_of(reshape_model(open, target).load()) == "Flatten");
  }
  CHECK(ops_of(reshape_model({8, 3, 4, 5}, {8, 60}).load()) == "Flatten");
  CHECK(ops_of(reshape_model({kDynamic, 3, kDynamic, kDynamic}, {-1, 60}).load()) == "Flatten");
}

TEST_CASE("reshapes that mix images or positions are refused with both shapes") {
  const auto error = [](const Shape& shape, const std::vector<int64_t>& target, int64_t opset = 13) {
    return reshape_model(shape, target, opset).load_error();
  };
  const std::string mixed = error({kDynamic, 3, 4, 5}, {1, -1});
  CHECK(contains(mixed, "node 'reshape' (Reshape): from shape [N, 3, 4, 5] to [1, -1] is not supported"));
  error({1, 3, 4, 5}, {1, 59});
  error({1, 3, 4, 5}, {1, 7, -1});
  error({1, 3, 4, 5}, {1, 4, 15});
  error({1, 3, 4, 5}, {60, 1});
  error({1, 3, 4, 5}, {-1});
  error({1, 3, 4, 5}, {});
  CHECK(contains(error({1, 3, 4, 5}, {-1, -1}), "two -1"));
  CHECK(contains(error({1, 3, 4, 5}, {-2, 60}), "negative extent"));
  CHECK(contains(error({1, 3, 4, 5}, {1, 3, 4, 5, 0}), "copies a missing axis"));
  OnnxBuilder zero = reshape_model({1, 3, 4, 5}, {0, 60}, 14);
  OnnxNode(zero.graph().mutable_node(0)).integer("allowzero", 1);
  zero.load_error();
}

TEST_CASE("Reshape that changes nothing, or only axes of extent 1, disappears") {
  OnnxBuilder same = image_model(13, {1, 3, 4, 5});
  same.integers("target", {4}, {-1, 3, 4, 5});
  same.node("Reshape", {"x", "target"}, {"r"});
  same.node("Relu", {"r"}, {"y"});
  CHECK(ops_of(same.load()) == "Relu");
  CHECK(same.load().find_value("r") == same.load().input);

  OnnxBuilder there_and_back = image_model(13, {1, 3, 1, 1});
  there_and_back.integers("flat", {2}, {0, -1})
      .integers("square", {4}, {0, -1, 1, 1})
      .weights("w", {2, 3, 1, 1});
  there_and_back.node("Reshape", {"x", "flat"}, {"f"});
  there_and_back.node("Reshape", {"f", "square"}, {"s"});
  there_and_back.node("Conv", {"s", "w"}, {"y"});
  const Graph graph = there_and_back.load();
  CHECK(std::get<ConvOp>(graph.nodes.back().op).weight->dim(0) == 2);
  CHECK(graph.nodes.back().inputs[0] == graph.input);
}

TEST_CASE("Squeeze and Unsqueeze by attribute and by input") {
  OnnxBuilder old = image_model(11, {1, 3, 1, 1});
  old.node("Squeeze", {"x"}, {"y"}).integers("axes", {2, 3});
  CHECK(ops_of(old.load()) == "Flatten");
  CHECK(output_shape(old.load()) == Shape{kDynamic, 3});

  OnnxBuilder steps = image_model(13, {1, 3, 1, 1});
  steps.integers("last", {1}, {-1}).integers("two", {1}, {2}).weights("w", {2, 3, 1, 1});
  steps.node("Squeeze", {"x", "last"}, {"a"});
  steps.node("Squeeze", {"a", "two"}, {"b"});
  steps.node("Relu", {"b"}, {"c"});
  steps.node("Relu", {"b"}, {"y"});
  CHECK(ops_of(steps.load()) == "Flatten Relu Relu");

  OnnxBuilder undone = image_model(13, {1, 3, 1, 1});
  undone.integers("axes", {2}, {2, 3}).weights("w", {2, 3, 1, 1});
  undone.node("Squeeze", {"x", "axes"}, {"a"});
  undone.node("Unsqueeze", {"a", "axes"}, {"b"});
  undone.node("Conv", {"b", "w"}, {"y"});
  CHECK(undone.load().nodes.back().inputs[0] == undone.load().input);

  OnnxBuilder all = image_model(13, {kDynamic, 3, 1, 1});
  all.node("Squeeze", {"x"}, {"y"});
  CHECK(ops_of(all.load()) == "Flatten");

  OnnxBuilder wide = image_model(11, {1, 3, 4, 1});
  wide.node("Squeeze", {"x"}, {"y"}).integers("axes", {2});
  CHECK(contains(wide.load_error(), "axis 2 of shape [N, 3, 4, 1] is not of extent 1"));
  OnnxBuilder again = image_model(11, {1, 3, 1, 1});
  again.node("Squeeze", {"x"}, {"y"}).integers("axes", {2, -2});
  CHECK(contains(again.load_error(), "one axis twice"));
}

TEST_CASE("the size arithmetic of exporters folds to a Flatten") {
  // x.view(x.size(0), -1)
  OnnxBuilder view = image_model(11, {kDynamic, 3, 2, 2});
  view.integers("zero", {}, {0}).integers("minus", {1}, {-1});
  view.node("Shape", {"x"}, {"s"});
  view.node("Gather", {"s", "zero"}, {"n"}).integer("axis", 0);
  view.node("Unsqueeze", {"n"}, {"n1"}).integers("axes", {0});
  view.node("Concat", {"n1", "minus"}, {"target"}).integer("axis", 0);
  view.node("Reshape", {"x", "target"}, {"y"});
  CHECK(ops_of(view.load()) == "Flatten");
  CHECK(output_shape(view.load()) == Shape{kDynamic, 12});

  // x.view(n, c * h * w), through Slice, Squeeze, Cast, Mul, Div, Add, Sub
  OnnxBuilder product = image_model(13, {1, 3, 2, 2});
  product.integers("one", {1}, {1})
      .integers("end", {1}, {2})
      .integers("four", {1}, {4})
      .integers("none", {1}, {0});
  product.node("Shape", {"x"}, {"s"});
  product.node("Slice", {"s", "one", "end"}, {"c"});
  product.node("Mul", {"c", "four"}, {"features"});
  product.node("Slice", {"s", "none", "one"}, {"n"});
  product.node("Mul", {"n", "one"}, {"n2"});
  product.node("Div", {"n2", "one"}, {"n3"});
  product.node("Add", {"n3", "none"}, {"n4"});
  product.node("Sub", {"n4", "none"}, {"n5"});
  product.node("Cast", {"n5"}, {"n6"}).integer("to", ::onnx::TensorProto::INT64);
  product.node("Concat", {"n6", "features"}, {"target"}).integer("axis", 0);
  product.node("Reshape", {"x", "target"}, {"y"});
  CHECK(ops_of(product.load()) == "Flatten");

  // What mixes the batch into features stays unknown, and is refused.
  OnnxBuilder mixed = image_model(13, {1, 3, 2, 2});
  mixed.integers("zero", {1}, {0}).integers("one", {1}, {1}).integers("two", {1}, {2});
  mixed.node("Shape", {"x"}, {"s"});
  mixed.node("Slice", {"s", "zero", "one"}, {"n"});
  mixed.node("Mul", {"n", "two"}, {"n2"});
  mixed.node("Concat", {"n2", "one"}, {"target"}).integer("axis", 0);
  mixed.node("Reshape", {"x", "target"}, {"y"});
  mixed.load_error();
}

TEST_CASE("weights may be computed from constants") {
  OnnxBuilder builder = image_model(13, {1, 2, 4, 4});
  builder.floats("hwio", {1, 1, 2, 3}, {1, 2, 3, 4, 5, 6}).floats("scale", {3, 1, 1, 1}, {1, 10, 100});
  builder.integers("shape", {1}, {3});
  builder.node("Transpose", {"hwio"}, {"oihw"}).integers("perm", {3, 2, 0, 1});
  builder.node("Mul", {"oihw", "scale"}, {"w"});
  auto& filler = builder.node("ConstantOfShape", {"shape"}, {"b"}).tensor("value");
  filler.add_dims(1);
  filler.set_data_type(::onnx::TensorProto::FLOAT);
  filler.add_float_data(7);
  builder.node("Conv", {"x", "w", "b"}, {"y"});
  const Graph graph = builder.load();
  const auto& conv = std::get<ConvOp>(graph.nodes.at(0).op);
  CHECK(conv.weight->shape() == Shape{3, 2, 1, 1});
  const std::vector<float> expected{1, 4, 20, 50, 300, 600};
  CHECK(std::equal(expected.begin(), expected.end(), conv.weight->data()));
  CHECK((*conv.bias)[2] == 7);
}

TEST_CASE("Constant in its forms") {
  OnnxBuilder builder = image_model(13, {1, 3, 2, 2});
  builder.node("Constant", {}, {"i"}).integer("value_int", 1);
  builder.node("Constant", {}, {"is"}).integers("value_ints", {-1, 12});
  builder.node("Constant", {}, {"f"}).real("value_float", 2);
  builder.node("Constant", {}, {"fs"}).reals("value_floats", {3});
  builder.node("Mul", {"x", "f"}, {"a"});
  builder.node("Add", {"a", "fs"}, {"b"});
  builder.node("Reshape", {"b", "is"}, {"y"});
  CHECK(ops_of(builder.load()) == "Affine Affine Flatten");
  OnnxBuilder text = image_model(13, {1, 3, 2, 2});
  text.node("Constant", {}, {"s"}).text("value_string", "hello");
  text.node("Relu", {"x"}, {"y"});
  CHECK(contains(text.load_error(), "holds no number"));
}

TEST_CASE("absurd constants are refused without allocating") {
  const int64_t huge = int64_t{1} << 40;
  const auto filled = [](const std::vector<int64_t>& shape) {
    OnnxBuilder builder = image_model(13, {1, 3, 2, 2});
    builder.integers("shape", {static_cast<int64_t>(shape.size())}, shape);
    builder.node("ConstantOfShape", {"shape"}, {"c"}, "fill");
    builder.node("Add", {"x", "c"}, {"y"});
    return builder;
  };
  CHECK(contains(filled({huge}).load_error(), "'fill' (ConstantOfShape) needs 1099511627776 elements"));
  CHECK(contains(filled({huge, huge, huge}).load_error(), "absurd shape"));
  CHECK(contains(filled({-3}).load_error(), "negative dimension"));
  LoadOptions options;
  options.max_constant_bytes = 400;
  CHECK(contains(filled({101}).load_error(options), "needs 101 elements of 4 bytes"));

  // Broadcasting a column with a row.
  OnnxBuilder outer = image_model(13, {1, 3, 2, 2});
  outer.integers("a", {2}, {1 << 14, 1}).integers("b", {2}, {1, 1 << 14});
  outer.node("ConstantOfShape", {"a"}, {"column"});
  outer.node("ConstantOfShape", {"b"}, {"row"});
  outer.node("Add", {"column", "row"}, {"sum"}, "outer");
  outer.node("Add", {"x", "sum"}, {"y"});
  options.max_constant_bytes = 1 << 20;
  CHECK(contains(outer.load_error(options), "'outer' (Add): the result needs 268435456 elements"));
}

TEST_CASE("constants that do not fit together are refused") {
  const auto error = [](const char* op, const Shape& a, const Shape& b) {
    OnnxBuilder builder = image_model(13, {1, 3, 2, 2});
    builder.weights("a", a).weights("b", b);
    OnnxNode node = builder.node(op, {"a", "b"}, {"c"});
    if (std::string(op) == "Concat") node.integer("axis", 0);
    builder.node("Relu", {"x"}, {"y"});
    return builder.load_error();
  };
  CHECK(contains(error("Add", {2, 3}, {2, 4}), "[2, 3] and [2, 4] do not fit"));
  CHECK(contains(error("Concat", {2, 3}, {2, 4}), "[2, 3] and [2, 4] cannot be joined"));
  CHECK(contains(error("Concat", {2, 3}, {2}), "cannot be joined"));

  OnnxBuilder division = image_model(13, {1, 3, 2, 2});
  division.integers("a", {1}, {1}).integers("b", {1}, {0});
  division.node("Div", {"a", "b"}, {"c"});
  division.node("Relu", {"x"}, {"y"});
  CHECK(contains(division.load_error(), "division by zero"));
  OnnxBuilder overflow = image_model(13, {1, 3, 2, 2});
  overflow.integers("a", {1}, {std::numeric_limits<int64_t>::max()});
  overflow.node("Add", {"a", "a"}, {"c"});
  overflow.node("Relu", {"x"}, {"y"});
  CHECK(contains(overflow.load_error(), "overflows"));
}
