#include "engine/graph.h"

#include <doctest/doctest.h>

#include <functional>
#include <string>

#include "engine/error.h"
#include "engine/validate.h"
#include "tests/reference/graph_builder.h"
#include "tests/reference/random_graph.h"

using namespace branchsae;
using reference::GraphBuilder;
using reference::window;

namespace {

/// data -> conv -> {relu, pool} -> concat
Graph sample() {
  GraphBuilder build(3);
  const ValueId conv = build.conv(build.input(), 4, window(3, 1, 1));
  const ValueId relu = build.add(ReluOp{}, conv);
  const ValueId pool = build.add(MaxPoolOp{window(3, 1, 1), false}, conv);
  return build.graph({build.concat({relu, pool})});
}

std::string broken(const std::function<void(Graph&)>& breaking) {
  Graph graph = sample();
  breaking(graph);
  try {
    validate(graph);
  } catch (const InputError& error) {
    CHECK(std::string(error.what()).find('\n') == std::string::npos);
    return error.what();
  }
  return "accepted";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("graph: values by name, writers and readers") {
  const Graph graph = sample();
  CHECK(graph.find_value("Conv_1") == 1);
  CHECK(graph.find_value("none") == kNoValue);
  CHECK(graph.producer(graph.input) == -1);
  CHECK(graph.producer(1) == 0);
  CHECK(graph.consumers(1) == std::vector<int>{1, 2});
  CHECK(graph.consumers(4).empty());
}

TEST_CASE("validate: what builders make passes") {
  CHECK(broken([](Graph&) {}) == "accepted");
  for (uint64_t seed = 0; seed < 50; ++seed) CHECK_NOTHROW(validate(reference::random_graph(seed, 3, 9, 9)));
}

TEST_CASE("validate: each broken invariant is named") {
  CHECK(contains(broken([](Graph& g) { std::swap(g.nodes[0], g.nodes[1]); }), "before anything writes it"));
  CHECK(contains(broken([](Graph& g) { g.nodes[0].inputs = {4}; }), "before anything writes it"));  // a cycle
  CHECK(contains(broken([](Graph& g) { g.nodes[1].output = 1; }), "already written"));
  CHECK(contains(broken([](Graph& g) { g.nodes[0].output = g.input; }), "is the input"));
  CHECK(contains(broken([](Graph& g) { g.nodes[1].inputs = {77}; }), "does not exist"));
  CHECK(contains(broken([](Graph& g) { g.nodes[1].inputs = {}; }), "takes 1 input"));
  CHECK(contains(broken([](Graph& g) { g.nodes[3].inputs = {}; }), "at least one"));
  CHECK(contains(broken([](Graph& g) { g.outputs = {kNoValue}; }), "output"));
  CHECK(contains(broken([](Graph& g) { g.nodes.pop_back(); }), "nothing computes"));
  CHECK(contains(broken([](Graph& g) { g.input = kNoValue; }), "no input"));
  CHECK(contains(broken([](Graph& g) { std::get<ConvOp>(g.nodes[0].op).weight = nullptr; }), "missing"));
  CHECK(contains(broken([](Graph& g) { std::get<ConvOp>(g.nodes[0].op).groups = 3; }), "3 groups"));
  CHECK(
      contains(broken([](Graph& g) { std::get<ConvOp>(g.nodes[0].op).window.kernel[0] = 5; }), "kernel 5x3"));
  CHECK(contains(broken([](Graph& g) { std::get<ConvOp>(g.nodes[0].op).window.stride[1] = 0; }), "stride 0"));
  CHECK(contains(broken([](Graph& g) { std::get<MaxPoolOp>(g.nodes[2].op).window.pad_end[1] = 3; }),
                 "reaches"));
  CHECK(contains(
      broken([](Graph& g) { std::get<ConvOp>(g.nodes[0].op).bias = std::make_shared<HostTensor>(Shape{5}); }),
      "bias [5]"));
  CHECK(contains(broken([](Graph& g) {
                   Block block;
                   block.name = "mixed3a";
                   block.value = 99;
                   g.blocks = {block};
                 }),
                 "mixed3a"));
}
