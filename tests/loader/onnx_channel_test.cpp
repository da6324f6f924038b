// Activations, normalisation, arithmetic, Concat and fully connected layers after loading.
#include <doctest/doctest.h>

#include <cmath>

#include "engine/error.h"
#include "tests/loader/onnx_builder.h"

using namespace branchsae;
using namespace branchsae::test;

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

OnnxBuilder image_model(int64_t opset = 13, Shape shape = {1, 3, 4, 5}) {
  OnnxBuilder builder(opset);
  builder.input("x", shape).output("y");
  return builder;
}

template <class T>
const T& only_op(const Graph& graph) {
  REQUIRE(graph.nodes.size() == 1);
  return std::get<T>(graph.nodes[0].op);
}

std::vector<float> values_of(const ConstTensor& tensor) {
  return {tensor->values().begin(), tensor->values().end()};
}

/// Scale and shift of a model that is one per-channel operation.
std::pair<std::vector<float>, std::vector<float>> affine_of(const OnnxBuilder& builder) {
  const Graph graph = builder.load();
  const auto& affine = only_op<AffineOp>(graph);
  return {values_of(affine.scale), values_of(affine.shift)};
}

using Floats = std::vector<float>;

}  // namespace

TEST_CASE("Relu and Clip") {
  OnnxBuilder relu6 = image_model(6);
  relu6.node("Clip", {"x"}, {"y"}).real("min", 0).real("max", 6);
  CHECK(only_op<ClipOp>(relu6.load()).max == 6);
  OnnxBuilder inputs = image_model();
  inputs.floats("low", {}, {-1}).floats("high", {}, {2});
  inputs.node("Clip", {"x", "low", "high"}, {"y"});
  CHECK(only_op<ClipOp>(inputs.load()).min == -1);
  OnnxBuilder half = image_model();
  half.floats("high", {}, {2});
  half.node("Clip", {"x", "", "high"}, {"y"});
  CHECK(only_op<ClipOp>(half.load()).min == std::numeric_limits<float>::lowest());
  OnnxBuilder relu = image_model();
  relu.floats("low", {}, {0});
  relu.node("Clip", {"x", "low"}, {"y"});
  CHECK(ops_of(relu.load()) == "Relu");
}

TEST_CASE("LRN") {
  OnnxBuilder builder = image_model();
  builder.node("LRN", {"x"}, {"y"})
      .integer("size", 3)
      .real("alpha", 2.0F)
      .real("beta", 0.5F)
      .real("bias", 4.0F);
  const LrnOp lrn = only_op<LrnOp>(builder.load());
  CHECK(lrn.size == 3);
  CHECK(lrn.alpha == 2.0F);
  CHECK(lrn.beta == 0.5F);
  CHECK(lrn.bias == 4.0F);
  OnnxBuilder defaults = image_model();
  defaults.node("LRN", {"x"}, {"y"}).integer("size", 5);
  CHECK(only_op<LrnOp>(defaults.load()).alpha == 1e-4F);
  OnnxBuilder none = image_model();
  none.node("LRN", {"x"}, {"y"});
  CHECK(contains(none.load_error(), "size 0 is out of range"));
}

TEST_CASE("Softmax: the axis and its default changed with operator set 13") {
  const auto load = [](int64_t opset, Shape shape, int64_t axis) {
    OnnxBuilder builder = image_model(opset, std::move(shape));
    OnnxNode node = builder.node("Softmax", {"x"}, {"y"});
    if (axis != 99) node.integer("axis", axis);
    return ops_of(builder.load());
  };
  CHECK(load(9, {1, 3, 1, 1}, 99) == "Softmax");
  CHECK(load(9, {1, 3, 1, 1}, -3) == "Softmax");
  CHECK(load(13, {1, 3, 1, 1}, 1) == "Softmax");
  CHECK(load(13, {1, 3, 1, kDynamic}, 1) == "Softmax");
  CHECK_THROWS_AS(load(13, {1, 3, 1, 1}, 99), InputError);  // over W
  CHECK_THROWS_AS(load(9, {1, 3, 4, 5}, 1), InputError);    // over C, H and W together
  CHECK_THROWS_AS(load(13, {1, 3, 4, 5}, 1), InputError);
  CHECK_THROWS_AS(load(13, {1, 3, 1, 1}, 4), InputError);
}

TEST_CASE("BatchNormalization becomes scale and shift") {
  OnnxBuilder builder = image_model(6);
  builder.floats("g", {3}, {1, 2, -3}).floats("b", {3}, {0.5F, 0, 1}).floats("m", {3}, {1, -1, 0});
  builder.floats("v", {3}, {3, 0, 8});
  builder.node("BatchNormalization", {"x", "g", "b", "m", "v"}, {"y"})
      .real("epsilon", 1.0F)
      .integer("is_test", 1);
  const auto [scale, shift] = affine_of(builder);
  // scale = g / sqrt(v + 1), shift = b - m scale
  CHECK(scale == Floats{0.5F, 2, -1});
  CHECK(shift == Floats{0, 2, 1});

  const auto refused = [](const char* attribute, int64_t value) {
    OnnxBuilder wrong = image_model();
    wrong.weights("p", {3});
    wrong.node("BatchNormalization", {"x", "p", "p", "p", "p"}, {"y"}).integer(attribute, value);
    return wrong.load_error();
  };
  CHECK(contains(refused("spatial", 0), "spatial = 0"));
  CHECK(contains(refused("training_mode", 1), "training_mode"));
  CHECK(contains(refused("other", 1), "variance"));  // the weights' second element is -2/3
  OnnxBuilder narrow = image_model();
  narrow.weights("p", {2});
  narrow.node("BatchNormalization", {"x", "p", "p", "p", "p"}, {"y"});
  CHECK(contains(narrow.load_error(), "scale of shape [2] does not fit 3 channels"));
}

TEST_CASE("arithmetic with constants is one scale and shift a channel") {
  const auto build = [](const char* op, bool constant_first, const Shape& shape, const Floats& values) {
    OnnxBuilder builder = image_model();
    builder.floats("c", shape, values);
    builder.node(op, constant_first ? std::vector<std::string>{"c", "x"} : std::vector<std::string>{"x", "c"},
                 {"y"});
    return builder;
  };
  using Result = std::pair<Floats, Floats>;
  CHECK(affine_of(build("Add", false, {}, {2})) == Result{{1, 1, 1}, {2, 2, 2}});
  CHECK(affine_of(build("Add", true, {3, 1, 1}, {1, 2, 3})) == Result{{1, 1, 1}, {1, 2, 3}});
  CHECK(affine_of(build("Sub", false, {1, 3, 1, 1}, {1, 2, 3})) == Result{{1, 1, 1}, {-1, -2, -3}});
  CHECK(affine_of(build("Sub", true, {1}, {5})) == Result{{-1, -1, -1}, {5, 5, 5}});
  CHECK(affine_of(build("Mul", true, {1, 1, 1}, {4})) == Result{{4, 4, 4}, {0, 0, 0}});
  CHECK(affine_of(build("Div", false, {3, 1, 1}, {2, 4, 8})) == Result{{0.5F, 0.25F, 0.125F}, {0, 0, 0}});
  // A mean image that does not vary over H and W.
  Floats image;
  for (int i = 0; i < 60; ++i) image.push_back(static_cast<float>(i / 20));
  CHECK(affine_of(build("Sub", false, {1, 3, 4, 5}, image)) == Result{{1, 1, 1}, {0, -1, -2}});
  image[7] = 9;
  CHECK(contains(build("Sub", false, {1, 3, 4, 5}, image).load_error(), "only one number a channel"));
  CHECK(contains(build("Add", false, {5}, {1, 2, 3, 4, 5}).load_error(), "only one number a channel"));
  CHECK(contains(build("Add", false, {2, 3, 1, 1}, {1, 2, 3, 4, 5, 6}).load_error(),
                 "only one number a channel"));
  CHECK(contains(build("Add", false, {1, 1, 1, 1, 1}, {1}).load_error(), "only one number a channel"));
  CHECK(contains(build("Div", true, {}, {1}).load_error(), "divided by an activation"));
  CHECK(contains(build("Div", false, {}, {0}).load_error(), "division by zero"));
}

TEST_CASE("operator set 6 says with `axis` where a constant belongs") {
  OnnxBuilder builder = image_model(6);
  builder.floats("c", {3}, {1, 2, 3});
  builder.node("Mul", {"x", "c"}, {"y"}).integer("broadcast", 1).integer("axis", 1);
  CHECK(affine_of(builder).first == Floats{1, 2, 3});
}

TEST_CASE("arithmetic on two activations") {
  OnnxBuilder builder = image_model();
  builder.node("Relu", {"x"}, {"a"});
  builder.node("Sub", {"x", "a"}, {"s"});
  builder.node("Sum", {"x", "a", "s"}, {"y"});
  const Graph graph = builder.load();
  CHECK(ops_of(graph) == "Relu Sub Add Add");
  CHECK(graph.nodes[1].inputs == std::vector<ValueId>{graph.find_value("x"), graph.find_value("a")});
  OnnxBuilder unequal = image_model();
  unequal.node("MaxPool", {"x"}, {"a"}).integers("kernel_shape", {2, 2});
  unequal.node("Add", {"x", "a"}, {"y"});
  CHECK(contains(unequal.load_error(), "[N, 3, 4, 5] and [N, 3, 3, 4] differ"));
}

TEST_CASE("Concat along channels") {
  OnnxBuilder builder = image_model();
  builder.weights("w", {2, 3, 1, 1});
  builder.node("Conv", {"x", "w"}, {"a"});
  builder.node("Relu", {"x"}, {"b"});
  builder.node("Concat", {"a", "b", "a"}, {"y"}).integer("axis", -3);
  const Graph graph = builder.load();
  CHECK(graph.value(graph.outputs.at(0)).shape == Shape{kDynamic, 7, 4, 5});
  OnnxBuilder rows = image_model();
  rows.node("Concat", {"x", "x"}, {"y"}).integer("axis", 2);
  CHECK(contains(rows.load_error(), "axis 2"));
  OnnxBuilder sizes = image_model();
  sizes.node("MaxPool", {"x"}, {"a"}).integers("kernel_shape", {2, 2});
  sizes.node("Concat", {"x", "a"}, {"y"}, "cat").integer("axis", 1);
  CHECK(contains(sizes.load_error(), "node 'cat' (Concat): shapes [N, 3, 4, 5] and [N, 3, 3, 4]"));
  OnnxBuilder one = image_model();
  one.node("Concat", {"x"}, {"a"}).integer("axis", 1);
  one.node("Relu", {"a"}, {"y"});
  CHECK(ops_of(one.load()) == "Relu");
}

namespace {

/// x [N, 3, 1, 1] flattened to f [N, 3].
OnnxBuilder flat_model(int64_t opset = 13) {
  OnnxBuilder builder = image_model(opset, {1, 3, 1, 1});
  builder.node("Flatten", {"x"}, {"f"});
  return builder;
}

const LinearOp& last_linear(const Graph& graph) {
  return std::get<LinearOp>(graph.nodes.back().op);
}

}  // namespace

TEST_CASE("Gemm: transB, alpha, beta and the forms of C") {
  OnnxBuilder rows = flat_model();
  rows.floats("w", {2, 3}, {1, 2, 3, 4, 5, 6}).floats("c", {2}, {10, 20});
  rows.node("Gemm", {"f", "w", "c"}, {"y"}).integer("transB", 1).real("alpha", 2).real("beta", 0.5F);
  const Graph graph = rows.load();
  CHECK(last_linear(graph).weight->shape() == Shape{2, 3});
  CHECK(values_of(last_linear(graph).weight) == Floats{2, 4, 6, 8, 10, 12});
  CHECK(values_of(last_linear(graph).bias) == Floats{5, 10});
  CHECK(graph.value(graph.outputs.at(0)).shape == Shape{kDynamic, 2});

  const auto with_bias = [](const Shape& shape, const Floats& values) {
    OnnxBuilder builder = flat_model();
    builder.floats("w", {3, 2}, {1, 2, 3, 4, 5, 6}).floats("c", shape, values);
    builder.node("Gemm", {"f", "w", "c"}, {"y"});
    return builder;
  };
  CHECK(values_of(last_linear(with_bias({1, 2}, {7, 8}).load()).bias) == Floats{7, 8});
  CHECK(values_of(last_linear(with_bias({}, {7}).load()).bias) == Floats{7, 7});
  CHECK(values_of(last_linear(with_bias({}, {7}).load()).weight) == Floats{1, 3, 5, 2, 4, 6});
  CHECK(contains(with_bias({3}, {1, 2, 3}).load_error(), "bias of shape [3]"));
  CHECK(contains(with_bias({2, 2}, {1, 2, 3, 4}).load_error(), "bias of shape [2, 2]"));
  OnnxBuilder bare = flat_model();
  bare.weights("w", {3, 2});
  bare.node("Gemm", {"f", "w"}, {"y"});
  CHECK(values_of(last_linear(bare.load()).bias) == Floats{0, 0});
}

TEST_CASE("MatMul and Add") {
  OnnxBuilder builder = flat_model();
  builder.floats("w", {3, 2}, {1, 2, 3, 4, 5, 6}).floats("c", {2}, {7, 8});
  builder.node("MatMul", {"f", "w"}, {"m"});
  builder.node("Add", {"m", "c"}, {"y"});
  const Graph graph = builder.load();
  CHECK(ops_of(graph) == "Flatten Linear Affine");
  CHECK(values_of(std::get<LinearOp>(graph.nodes[1].op).weight) == Floats{1, 3, 5, 2, 4, 6});
}

TEST_CASE("fully connected layers that do not fit are refused") {
  OnnxBuilder size = flat_model();
  size.weights("w", {4, 2});
  size.node("Gemm", {"f", "w"}, {"y"}, "fc");
  CHECK(contains(size.load_error(),
                 "node 'fc' (Gemm): weight of shape [4, 2] takes 4 features, the input has 3"));
  OnnxBuilder image = image_model();
  image.weights("w", {3, 2});
  image.node("MatMul", {"x", "w"}, {"y"});
  CHECK(contains(image.load_error(), "flatten it first"));
  OnnxBuilder turned = flat_model();
  turned.weights("w", {3, 2});
  turned.node("Gemm", {"f", "w"}, {"y"}).integer("transA", 1);
  CHECK(contains(turned.load_error(), "transA"));
  OnnxBuilder cube = flat_model();
  cube.weights("w", {1, 3, 2});
  cube.node("MatMul", {"f", "w"}, {"y"});
  CHECK(contains(cube.load_error(), "is not a matrix"));
}

TEST_CASE("training leftovers are refused where they matter") {
  OnnxBuilder mask = image_model(9);
  mask.output("m");
  mask.node("Dropout", {"x"}, {"y", "m"});
  CHECK(contains(mask.load_error(), "mask"));
  OnnxBuilder training = image_model(13);
  training.floats("ratio", {}, {0.5F});
  auto* flag = training.graph().add_initializer();
  flag->set_name("training");
  flag->set_data_type(::onnx::TensorProto::BOOL);
  flag->add_int32_data(1);
  training.node("Dropout", {"x", "ratio", "training"}, {"a"});
  training.node("Relu", {"a"}, {"y"});
  CHECK(contains(training.load_error(), "training_mode"));
  training.graph().mutable_initializer(1)->set_int32_data(0, 0);
  CHECK(ops_of(training.load()) == "Relu");
}
