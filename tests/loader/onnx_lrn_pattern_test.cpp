#include <doctest/doctest.h>

#include <functional>

#include "engine/error.h"
#include "tests/loader/onnx_builder.h"

using namespace branchsae;
using test::OnnxBuilder;

namespace {

/// One step of the pattern that a test can change.
struct Parts {
  std::vector<int64_t> kernel{5, 1, 1}, strides{1, 1, 1};
  std::vector<int64_t> pads{0, 0, 2, 0, 0, 0, 0, 2, 0, 0};
  std::vector<int64_t> pool_pads{0, 0, 0, 0, 0, 0};
  std::vector<int64_t> view{0, 1, 6, 8, 8};
  std::string square_of = "x", divided = "x";
  bool also_output = false;
};

/// data -> conv -> x -> x / (2 + 0.5 * mean of squares)^0.75
OnnxBuilder pattern(const Parts& parts) {
  OnnxBuilder onnx(13);
  onnx.input("data", {kDynamic, 3, 8, 8}).output("y").weights("w", {6, 3, 1, 1});
  onnx.integers("view", {5}, parts.view)
      .integers("back", {4}, {0, 6, 8, 8})
      .integers("pads", {10}, parts.pads);
  onnx.floats("alpha", {}, {0.5F})
      .floats("beta", {}, {0.75F})
      .floats("k", {}, {2.0F})
      .integers("one", {1}, {1});
  onnx.node("Conv", {"data", "w"}, {"x"}).integers("kernel_shape", {1, 1});
  onnx.node("Relu", {"x"}, {"other"});
  onnx.node("Mul", {parts.square_of, "x"}, {"squares"});
  onnx.node("Reshape", {"squares", "view"}, {"viewed"});
  onnx.node("Pad", {"viewed", "pads"}, {"padded"});
  onnx.node("AveragePool", {"padded"}, {"mean5"})
      .integers("kernel_shape", parts.kernel)
      .integers("strides", parts.strides)
      .integers("pads", parts.pool_pads)
      .integer("count_include_pad", 1);
  onnx.node("Squeeze", {"mean5", "one"}, {"mean"});
  onnx.node("Mul", {"alpha", "mean"}, {"product"});
  onnx.node("Add", {"product", "k"}, {"sum"});
  onnx.node("Pow", {"sum", "beta"}, {"power"});
  onnx.node("Div", {parts.divided, "power"}, {"y"});
  if (parts.also_output) onnx.output("sum");
  return onnx;
}

}  // namespace

TEST_CASE("normalisation written out becomes LRN with its constants") {
  const Graph graph = pattern({}).load();
  CHECK(test::ops_of(graph) == "Conv Relu LRN");
  const auto& lrn = std::get<LrnOp>(graph.nodes.back().op);
  CHECK(lrn.size == 5);
  CHECK(lrn.alpha == 0.5F);
  CHECK(lrn.beta == 0.75F);
  CHECK(lrn.bias == 2.0F);
  CHECK(graph.value(graph.nodes.back().output).name == "y");
  CHECK(graph.nodes.back().inputs == std::vector<ValueId>{graph.find_value("x")});
}

TEST_CASE("padding in the pool itself is the same") {
  Parts parts;
  parts.pads = std::vector<int64_t>(10, 0);
  parts.pool_pads = {2, 0, 0, 2, 0, 0};
  CHECK(test::ops_of(pattern(parts).load()) == "Conv Relu LRN");
}

TEST_CASE("what is not exactly the pattern stays, and its operators are refused") {
  const auto refused = [](const std::function<void(Parts&)>& change) {
    Parts parts;
    change(parts);
    return pattern(parts).load_error();
  };
  CHECK(refused([](Parts& p) { p.kernel = {4, 1, 1}; }).find("supported") != std::string::npos);
  CHECK_NOTHROW(refused([](Parts& p) { p.kernel = {5, 3, 1}; }));
  CHECK_NOTHROW(refused([](Parts& p) { p.strides = {2, 1, 1}; }));
  CHECK_NOTHROW(refused([](Parts& p) { p.pads = {0, 0, 3, 0, 0, 0, 0, 1, 0, 0}; }));
  CHECK_NOTHROW(refused([](Parts& p) { p.pads = {0, 0, 2, 1, 0, 0, 0, 2, 1, 0}; }));
  CHECK_NOTHROW(refused([](Parts& p) { p.view = {0, 6, 1, 8, 8}; }));
  CHECK_NOTHROW(refused([](Parts& p) { p.square_of = "other"; }));
  CHECK_NOTHROW(refused([](Parts& p) { p.divided = "other"; }));
  // Its inner sum is wanted: the arithmetic cannot go.
  CHECK_NOTHROW(refused([](Parts& p) { p.also_output = true; }));
}
