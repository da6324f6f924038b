// Local response normalisation spelled out, as PyTorch exports it, and If.
#include <doctest/doctest.h>

#include "engine/error.h"
#include "tests/loader/onnx_builder.h"

using namespace branchsae;
using namespace branchsae::test;

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

struct LrnModel {
  std::vector<int64_t> pads{0, 0, 1, 0, 0, 0, 0, 1, 0, 0};
  std::vector<int64_t> kernel{3, 1, 1};
  Shape shape{kDynamic, 4, 5, 6};
  std::string divisor = "power";

  /// x / (0.5 mean + 2)^0.75
  OnnxBuilder build() const {
    OnnxBuilder builder(12);
    builder.input("x", shape).output("y").integers("cube", {5}, {0, 1, 4, shape[2], -1});
    builder.floats("alpha", {}, {0.5F})
        .floats("k", {}, {2})
        .floats("beta", {}, {0.75F})
        .integers("pads", {10}, pads);
    builder.node("Mul", {"x", "x"}, {"square"});
    builder.node("Reshape", {"square", "cube"}, {"five"});
    builder.node("Pad", {"five", "pads"}, {"padded"});
    builder.node("AveragePool", {"padded"}, {"mean"}, "mean").integers("kernel_shape", kernel);
    builder.node("Squeeze", {"mean"}, {"four"}).integers("axes", {1});
    builder.node("Mul", {"alpha", "four"}, {"scaled"});
    builder.node("Add", {"scaled", "k"}, {"shifted"});
    builder.node("Pow", {"shifted", "beta"}, {"power"});
    builder.node("Div", {"x", divisor}, {"y"}, "divide");
    return builder;
  }
};

LrnOp lrn_of(const Graph& graph) {
  const Node& node = graph.nodes.at(static_cast<size_t>(graph.producer(graph.outputs.at(0))));
  CHECK(node.inputs == std::vector<ValueId>{graph.input});
  return std::get<LrnOp>(node.op);
}

}  // namespace

TEST_CASE("the nodes of a spelled-out normalisation become one LRN") {
  const LrnOp lrn = lrn_of(LrnModel().build().load());
  CHECK(ops_of(LrnModel().build().load()) == "LRN");
  CHECK(lrn.size == 3);
  CHECK(lrn.alpha == 0.5F);
  CHECK(lrn.beta == 0.75F);
  CHECK(lrn.bias == 2.0F);

  LrnModel wide;
  wide.pads = {0, 0, 4, 0, 0, 0, 0, 4, 0, 0};
  wide.kernel = {9, 1, 1};
  CHECK(lrn_of(wide.build().load()).size == 9);

  LrnModel in_pool;  // the pool's own padding
  in_pool.pads = std::vector<int64_t>(10, 0);
  OnnxBuilder builder = in_pool.build();
  OnnxNode(builder.graph().mutable_node(3))
      .integers("pads", {1, 0, 0, 1, 0, 0})
      .integer("count_include_pad", 1);
  CHECK(lrn_of(builder.load()).size == 3);
  builder.graph().mutable_node(3)->mutable_attribute()->RemoveLast();
  CHECK(contains(builder.load_error(), "must count its padding"));

  LrnModel linear;  // no power
  linear.divisor = "shifted";
  CHECK(lrn_of(linear.build().load()).beta == 1.0F);
}

TEST_CASE("what looks like it and is not is refused") {
  LrnModel uneven;
  uneven.pads = {0, 0, 2, 0, 0, 0, 0, 0, 0, 0};
  CHECK(contains(uneven.build().load_error(), "2 zero channels before and 0 after"));
  LrnModel rows;
  rows.kernel = {3, 3, 1};
  CHECK(contains(rows.build().load_error(), "only means over channels"));
  LrnModel unscaled;
  unscaled.divisor = "padded";
  CHECK(contains(unscaled.build().load_error(), "not supported"));

  OnnxBuilder leaves = LrnModel().build();
  leaves.output("z");
  leaves.node("Relu", {"four"}, {"z"}, "reader");
  CHECK(contains(leaves.load_error(), "'reader' (Relu): 'four' is part of a local response normalisation"));

  OnnxBuilder output = LrnModel().build();
  output.output("scaled");
  CHECK(contains(output.load_error(), "'scaled' is part of a local response normalisation"));

  LrnModel strided;
  strided.kernel = {4, 1, 1};
  strided.pads = {0, 0, 2, 0, 0, 0, 0, 1, 0, 0};  // PyTorch's window of 4 reaches the other way than ONNX's
  CHECK(contains(strided.build().load_error(), "1 and 2 are needed"));
  LrnModel rows_padded;
  rows_padded.pads = {0, 0, 1, 1, 0, 0, 0, 1, 1, 0};
  rows_padded.build().load_error();

  OnnxBuilder other = LrnModel().build();
  other.graph().mutable_node(8)->set_input(0, "w");
  other.graph().mutable_node(8)->set_output(0, "y");
  auto* relu = other.graph().add_node();
  relu->set_op_type("Relu");
  relu->add_input("x");
  relu->add_output("w");
  CHECK(contains(other.load_error(), "local response of another tensor"));

  OnnxBuilder root(13);
  root.input("x", {1, 4, 5, 6}).output("y").floats("half", {}, {0.5F});
  root.node("Pow", {"x", "half"}, {"y"});
  CHECK(contains(root.load_error(), "exponent 0.5"));
}

TEST_CASE("a square that is no part of LRN stays a product") {
  OnnxBuilder builder(13);
  builder.input("x", {1, 4, 5, 6})
      .output("y")
      .floats("two", {}, {2})
      .integers("pads", {8}, {0, 0, 1, 1, 0, 0, 1, 1});
  builder.node("Pow", {"x", "two"}, {"a"});
  builder.node("Pad", {"a", "pads"}, {"b"});
  builder.node("Mul", {"b", "b"}, {"c"});
  builder.node("AveragePool", {"c"}, {"d"}).integers("kernel_shape", {2, 2});
  builder.node("Mul", {"d", "d"}, {"y"});
  const Graph graph = builder.load();
  CHECK(ops_of(graph) == "Mul Pad Mul AveragePool Mul");
  CHECK(graph.value(graph.outputs.at(0)).name == "y");
  for (const char* name : {"a", "b", "c", "d"}) CHECK(graph.find_value(name) != kNoValue);

  OnnxBuilder flat(13);
  flat.input("x", {1, 4, 1, 1}).output("y").integers("rows", {2}, {0, -1}).floats("two", {}, {2});
  flat.node("Mul", {"x", "x"}, {"s"});
  flat.node("Reshape", {"s", "rows"}, {"f"});
  flat.node("Mul", {"f", "two"}, {"y"});
  CHECK(ops_of(flat.load()) == "Mul Flatten Affine");
}

namespace {

/// y = channels(x) == compared ? Relu(x) : MaxPool(x)
OnnxBuilder if_model(int64_t compared) {
  OnnxBuilder builder(13);
  builder.input("x", {kDynamic, 4, 5, 6})
      .output("y")
      .integers("one", {1}, {1})
      .integers("n", {1}, {compared});
  // The If comes first in the file, before the tensor that its branches read.
  OnnxNode choice = builder.node("If", {"same"}, {"y"}, "choice");
  builder.node("Relu", {"x"}, {"r"});
  builder.node("Shape", {"x"}, {"s"});
  builder.node("Gather", {"s", "one"}, {"c"});
  builder.node("Equal", {"c", "n"}, {"same"});
  for (const char* side : {"then_branch", "else_branch"}) {
    auto* attribute = choice.proto().add_attribute();
    attribute->set_name(side);
    attribute->set_type(::onnx::AttributeProto::GRAPH);
    auto* inner = attribute->mutable_g()->add_node();
    inner->set_op_type(std::string(side) == "then_branch" ? "Relu" : "GlobalAveragePool");
    inner->add_input("r");
    inner->add_output(std::string("inner_") + side);
    attribute->mutable_g()->add_output()->set_name(inner->output(0));
  }
  return builder;
}

}  // namespace

TEST_CASE("If takes the branch that sizes decide") {
  CHECK(ops_of(if_model(4).load()) == "Relu Relu");
  CHECK(ops_of(if_model(5).load()) == "Relu GlobalAveragePool");
  CHECK(if_model(5).load().find_value("y") != kNoValue);
}

TEST_CASE("If that cannot be decided or read is refused") {
  OnnxBuilder moving = if_model(4);
  moving.graph().mutable_node(0)->set_input(0, "r");
  CHECK(contains(moving.load_error(), "a constant is needed there"));
  OnnxBuilder batch = if_model(4);
  batch.graph().mutable_initializer(0)->set_int64_data(0, 0);
  CHECK(contains(batch.load_error(), "not known before the network runs"));
  OnnxBuilder strange = if_model(4);
  strange.graph().mutable_node(0)->mutable_attribute(0)->mutable_g()->mutable_node(0)->set_op_type("Gelu");
  CHECK(contains(strange.load_error(), "operator Gelu is not supported"));
  OnnxBuilder empty = if_model(4);
  empty.graph().mutable_node(0)->mutable_attribute(0)->mutable_g()->clear_node();
  CHECK(contains(empty.load_error(), "written by nothing"));
  OnnxBuilder missing = if_model(4);
  missing.graph().mutable_node(0)->clear_attribute();
  CHECK(contains(missing.load_error(), "'then_branch' is missing"));
  OnnxBuilder cycle = if_model(4);
  cycle.graph().mutable_node(0)->mutable_attribute(0)->mutable_g()->mutable_node(0)->set_input(0, "y");
  CHECK(contains(cycle.load_error(), "cycle of 1 nodes: 'choice' (If)"));
}
