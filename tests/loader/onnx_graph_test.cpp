// The graph as a whole: order, names, inputs, outputs, unsupported operators, batch.
#include <doctest/doctest.h>

#include "engine/error.h"
#include "tests/loader/onnx_builder.h"

using namespace branchsae;
using namespace branchsae::test;

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

OnnxBuilder with_input(int64_t opset = 13) {
  OnnxBuilder builder(opset);
  builder.input("x", {1, 3, 8, 8}).output("y");
  return builder;
}

}  // namespace

TEST_CASE("nodes may come in any order") {
  OnnxBuilder builder = with_input();
  builder.node("Relu", {"b"}, {"y"}, "last");
  builder.node("MaxPool", {"a"}, {"b"}).integers("kernel_shape", {2, 2});
  builder.node("Relu", {"x"}, {"a"}, "first");
  CHECK(ops_of(builder.load()) == "Relu MaxPool Relu");
}

TEST_CASE("a cycle is refused and shown") {
  OnnxBuilder builder = with_input();
  builder.node("Add", {"x", "c"}, {"a"}, "one");
  builder.node("Relu", {"a"}, {"b"}, "two");
  builder.node("Relu", {"b"}, {"c"}, "three");
  builder.node("Relu", {"a"}, {"y"}, "beside");
  const std::string error = builder.load_error();
  CHECK(contains(error, "cycle of 3 nodes"));
  for (const char* name : {"'one'", "'two'", "'three'"}) CHECK(contains(error, name));

  OnnxBuilder self = with_input();
  self.node("Relu", {"y"}, {"y"}, "loop");
  CHECK(contains(self.load_error(), "cycle of 1 nodes: 'loop' (Relu)"));
}

TEST_CASE("names written twice or never are refused") {
  OnnxBuilder twice = with_input();
  twice.node("Relu", {"x"}, {"y"}, "one");
  twice.node("Relu", {"x"}, {"y"}, "two");
  CHECK(contains(twice.load_error(),
                 "tensor 'y' is written twice: by node 'one' (Relu) and by node 'two' (Relu)"));

  OnnxBuilder over_input = with_input();
  over_input.node("Relu", {"x"}, {"x"}, "one");
  CHECK(contains(over_input.load_error(), "tensor 'x' is written twice"));

  OnnxBuilder missing = with_input();
  missing.node("Add", {"x", "ghost"}, {"y"}, "sum");
  CHECK(contains(missing.load_error(), "node 'sum' (Add) reads 'ghost'"));

  OnnxBuilder no_output = with_input();
  no_output.node("Relu", {"x"}, {"z"});
  CHECK(contains(no_output.load_error(), "output 'y' is written by nothing"));

  OnnxBuilder silent = with_input();
  silent.node("Relu", {"x"}, {}, "mute");
  CHECK(contains(silent.load_error(), "'mute' (Relu) has no output"));
}

TEST_CASE("an unsupported operator is named with what is supported") {
  OnnxBuilder builder = with_input();
  builder.node("Gelu", {"x"}, {"y"}, "act");
  const std::string error = builder.load_error();
  CHECK(contains(error, "node 'act' (Gelu): operator Gelu is not supported"));
  for (const char* op : {"Conv", "LRN", "Softmax", "Unsqueeze"}) CHECK(contains(error, op));

  OnnxBuilder foreign = with_input();
  foreign.node("Relu", {"x"}, {"y"}).proto().set_domain("com.microsoft");
  CHECK(contains(foreign.load_error(), "of domain 'com.microsoft'"));
  OnnxBuilder native = with_input();
  native.node("Relu", {"x"}, {"y"}).proto().set_domain("ai.onnx");
  CHECK(ops_of(native.load()) == "Relu");
}

TEST_CASE("names with control characters stay on one line; names that are not UTF-8 are refused") {
  OnnxBuilder builder = with_input();
  builder.node("Gelu", {"x"}, {"y"}, "a\nb\x1b[31m");
  CHECK(contains(builder.load_error(), "a\\x0ab\\x1b[31m"));

  OnnxBuilder damaged = with_input();
  damaged.node("Relu", {"x"}, {"y"}, "bad\xff");
  CHECK(contains(damaged.load_error(), "not UTF-8"));
  OnnxBuilder greek = with_input();
  greek.node("Relu", {"x"}, {"\xce\xb1"});
  greek.node("Relu", {"\xce\xb1"}, {"y"});
  CHECK(greek.load().find_value("\xce\xb1") != kNoValue);
}

TEST_CASE("weights may be listed as graph inputs, and be unused") {
  OnnxBuilder builder(8);
  builder.input("x", {1, 3, 8, 8}).output("y");
  builder.input("w", {4, 3, 1, 1}).weights("w", {4, 3, 1, 1}).weights("unused", {1000});
  builder.node("Conv", {"x", "w"}, {"y"});
  const Graph graph = builder.load();
  CHECK(graph.value(graph.input).name == "x");
  CHECK(ops_of(graph) == "Conv");
}

TEST_CASE("an unused initialiser that is damaged is still refused") {
  OnnxBuilder builder = with_input();
  builder.floats("short", {7}, {1, 2});
  builder.node("Relu", {"x"}, {"y"});
  CHECK(contains(builder.load_error(), "initialiser 'short': shape [7] needs 7 elements"));
}

TEST_CASE("exactly one input is an image") {
  OnnxBuilder two = with_input();
  two.input("z", {1, 3, 8, 8});
  two.node("Add", {"x", "z"}, {"y"});
  CHECK(contains(two.load_error(), "2 inputs: x, z"));
  OnnxBuilder idle = with_input();
  idle.input("z", {1, 3, 8, 8});
  idle.node("Relu", {"x"}, {"y"});
  CHECK(ops_of(idle.load()) == "Relu");

  OnnxBuilder flat;
  flat.input("x", {1, 3}).output("y");
  flat.node("Relu", {"x"}, {"y"});
  CHECK(contains(flat.load_error(), "input 'x' has shape [1, 3]"));
  OnnxBuilder absurd;
  absurd.input("x", {1, 3, int64_t{1} << 40, 8}).output("y");
  absurd.node("Relu", {"x"}, {"y"});
  CHECK(contains(absurd.load_error(), "absurd shape"));
}

TEST_CASE("a model without inputs' shape gets its channels from the first convolution") {
  OnnxBuilder builder;
  builder.graph().add_input()->set_name("x");
  builder.output("y").weights("w", {4, 5, 1, 1});
  builder.node("Conv", {"x", "w"}, {"y"});
  const Graph graph = builder.load();
  CHECK(graph.value(graph.input).shape == Shape{kDynamic, 5, kDynamic, kDynamic});
}

TEST_CASE("a fixed batch becomes dynamic") {
  OnnxBuilder builder = with_input();
  builder.node("Relu", {"x"}, {"y"});
  const Graph graph = builder.load();
  CHECK(graph.value(graph.input).shape == Shape{kDynamic, 3, 8, 8});
  CHECK(graph.value(graph.outputs.at(0)).shape == Shape{kDynamic, 3, 8, 8});
}

TEST_CASE("several outputs; one that is constant is passed over") {
  OnnxBuilder builder = with_input();
  builder.output("z").output("shape");
  builder.node("Relu", {"x"}, {"y"});
  builder.node("MaxPool", {"y"}, {"z"}).integers("kernel_shape", {2, 2});
  builder.node("Shape", {"x"}, {"shape"});
  const Graph graph = builder.load();
  REQUIRE(graph.outputs.size() == 2);
  CHECK(graph.value(graph.outputs[0]).name == "y");
  CHECK(graph.value(graph.outputs[1]).name == "z");

  OnnxBuilder constant;
  constant.input("x", {1, 3, 8, 8}).output("shape");
  constant.node("Shape", {"x"}, {"shape"});
  CHECK(contains(constant.load_error(), "no output of the graph depends on its input"));
}

TEST_CASE("dropped nodes leave aliases") {
  OnnxBuilder builder = with_input(9);
  builder.node("Relu", {"x"}, {"a"});
  builder.node("Identity", {"a"}, {"b"});
  builder.node("Dropout", {"b"}, {"c", "mask"}).real("ratio", 0.4F);
  builder.node("Cast", {"c"}, {"d"}).integer("to", ::onnx::TensorProto::FLOAT);
  builder.node("MaxPool", {"d"}, {"y"}).integers("kernel_shape", {2, 2});
  const Graph graph = builder.load();
  CHECK(ops_of(graph) == "Relu MaxPool");
  for (const char* name : {"b", "c", "d"}) CHECK(graph.find_value(name) == graph.find_value("a"));
  CHECK(graph.find_value("mask") == kNoValue);
}
