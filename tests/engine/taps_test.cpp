#include "engine/taps.h"

#include <doctest/doctest.h>

#include "engine/error.h"

using namespace branchsae;

namespace {

/// Two blocks of two branches with ReLUs: values are named as in Caffe.
Graph sample() {
  Graph graph;
  graph.source = "sample.onnx";
  const auto value = [&](const std::string& name, int64_t channels) {
    graph.values.push_back({name, {kDynamic, channels, kDynamic, kDynamic}});
    return static_cast<ValueId>(graph.values.size() - 1);
  };
  const auto node = [&](Op op, std::vector<ValueId> inputs, ValueId output) {
    graph.nodes.push_back({graph.value(output).name, std::move(op), std::move(inputs), output});
  };
  ValueId source = graph.input = value("data", 3);
  for (const char* layer : {"mixed4a", "mixed4b"}) {
    Block block;
    block.name = layer;
    std::vector<ValueId> outputs;
    for (int64_t width : {8, 4}) {
      const std::string name = std::string(layer) + (width == 8 ? "/1x1" : "/5x5");
      const ValueId pre = value(name + "_preact", width);
      const ValueId post = value(name, width);
      node(ConvOp{}, {source}, pre);
      node(ReluOp{}, {pre}, post);
      const int64_t begin = block.branches.empty() ? 0 : block.branches.back().end;
      block.branches.push_back({width == 8 ? "1x1" : "5x5", begin, begin + width, "1x1", post, pre});
      outputs.push_back(post);
    }
    block.value = source = value(std::string(layer) + "/output", 12);
    node(ConcatOp{}, outputs, source);
    graph.blocks.push_back(block);
  }
  return graph;
}

}  // namespace

TEST_CASE("branches, layers, sums and ranges") {
  const Graph graph = sample();
  const Tap branch = resolve_tap(graph, "mixed4b.5x5");
  REQUIRE(branch.parts.size() == 1);
  CHECK(branch.parts[0].value == graph.blocks[1].value);
  CHECK(branch.parts[0].begin == 8);
  CHECK(branch.parts[0].end == 12);
  CHECK(resolve_tap(graph, "mixed4a").width() == 12);
  CHECK(resolve_tap(graph, "mixed4a+mixed4b.1x1").width() == 20);
  CHECK(resolve_tap(graph, "mixed4a..mixed4b").width() == 24);
  CHECK(resolve_tap(graph, "mixed4a..mixed4b:pre").parts.size() == 4);
}

TEST_CASE("an exact ONNX name and :pre") {
  const Graph graph = sample();
  CHECK(resolve_tap(graph, "mixed4a/5x5").parts[0].value == graph.find_value("mixed4a/5x5"));
  CHECK(resolve_tap(graph, "mixed4a/5x5:pre").parts[0].value == graph.find_value("mixed4a/5x5_preact"));
  CHECK(resolve_tap(graph, "mixed4a.5x5:pre").parts[0].value == graph.find_value("mixed4a/5x5_preact"));
  CHECK(resolve_tap(graph, "mixed4a:pre").width() == 12);
  CHECK_THROWS_AS(resolve_tap(graph, "mixed4a/5x5_preact:pre"), InputError);
}

TEST_CASE("unknown names list the nearest") {
  const Graph graph = sample();
  try {
    resolve_tap(graph, "mixed4a.5x6");
    FAIL("no error");
  } catch (const InputError& error) {
    CHECK(std::string(error.what()).find("mixed4a.5x5") != std::string::npos);
  }
  for (const char* text : {"", "+", "mixed4a+", "mixed4b..mixed4a", "mixed4a..", "..", "nothing", ":pre"}) {
    CAPTURE(text);
    CHECK_THROWS_AS(resolve_tap(graph, text), InputError);
  }
}

TEST_CASE("TAP:INDEX") {
  CHECK(split_tap_index("mixed4c.5x5:17") ==
        std::pair<std::string, std::optional<int64_t>>{"mixed4c.5x5", 17});
  CHECK(split_tap_index("mixed4c:pre:3").first == "mixed4c:pre");
  CHECK_FALSE(split_tap_index("mixed4c:pre").second);
  CHECK_FALSE(split_tap_index("mixed4c:").second);
}

TEST_CASE("folder names and their clashes") {
  CHECK(tap_file_name("inception_4c/5x5:pre") == "inception_4c.5x5.pre");
  CHECK(tap_file_name("mixed4a+mixed4b") == "mixed4a+mixed4b");
  CHECK_THROWS_AS(check_tap_file_names({{"a/b", {}}, {"a:b", {}}}), InputError);
  CHECK_NOTHROW(check_tap_file_names({{"a", {}}, {"b", {}}}));
}
