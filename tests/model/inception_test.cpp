// Blocks and branches from structure alone.
#include "model/inception.h"

#include <doctest/doctest.h>

#include "engine/taps.h"
#include "tests/reference/graph_builder.h"

using namespace branchsae;
using reference::GraphBuilder;
using reference::window;

namespace {

/// conv + ReLU; the convolution's output where `relu` is false.
ValueId unit(GraphBuilder& builder, ValueId from, int64_t outputs, int64_t kernel, bool relu = true) {
  const ValueId conv = builder.conv(from, outputs, window(kernel, 1, kernel / 2));
  return relu ? builder.add(ReluOp{}, conv) : conv;
}

/// An inception block of 2 + 3 + 4 + 1 channels.
ValueId inception(GraphBuilder& builder, ValueId from, bool relu = true) {
  const ValueId one = unit(builder, from, 2, 1, relu);
  const ValueId three = unit(builder, unit(builder, from, 2, 1), 3, 3, relu);
  const ValueId five = unit(builder, unit(builder, from, 2, 1), 4, 5, relu);
  const ValueId pool = unit(builder, builder.add(MaxPoolOp{window(3, 1, 1)}, from), 1, 1, relu);
  return builder.concat({one, three, five, pool});
}

Graph finish(GraphBuilder& builder, ValueId output) {
  Graph graph = builder.whole_graph({output});
  recognise_blocks(graph);
  return graph;
}

std::vector<std::string> names(const Graph& graph) {
  std::vector<std::string> list;
  for (const Block& block : graph.blocks) list.push_back(block.name);
  return list;
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("one block: names by place, channel ranges, real kernels, values before and after ReLU") {
  GraphBuilder builder(3);
  const ValueId stem = unit(builder, builder.input(), 6, 3);
  const ValueId joined = inception(builder, stem);
  const Graph graph = finish(builder, builder.add(ReluOp{}, builder.add(MaxPoolOp{window(2, 2)}, joined)));
  REQUIRE(graph.blocks.size() == 1);
  const Block& block = graph.blocks[0];
  CHECK(block.name == "block1");
  CHECK(block.value == joined);
  REQUIRE(block.branches.size() == 4);
  const std::vector<std::string> expected_names{"1x1", "3x3", "5x5", "pool"};
  const std::vector<std::string> expected_kernels{"1x1", "3x3", "5x5", "max 3x3 + 1x1"};
  const std::vector<int64_t> bounds{0, 2, 5, 9, 10};
  for (size_t i = 0; i < 4; ++i) {
    const Branch& branch = block.branches[i];
    CHECK(branch.name == expected_names[i]);
    CHECK(branch.kernel == expected_kernels[i]);
    CHECK(branch.begin == bounds[i]);
    CHECK(branch.end == bounds[i + 1]);
    const Node& relu = graph.nodes[static_cast<size_t>(graph.producer(branch.value))];
    CHECK(std::holds_alternative<ReluOp>(relu.op));
    CHECK(branch.pre_value == relu.inputs[0]);
  }
}

TEST_CASE("nine blocks are mixed3a to mixed5b, eight are block1 to block8") {
  const auto chain = [](int blocks) {
    GraphBuilder builder(3);
    ValueId last = unit(builder, builder.input(), 6, 3);
    for (int i = 0; i < blocks; ++i) last = inception(builder, last);
    return names(finish(builder, last));
  };
  CHECK(chain(9) == Names{"mixed3a", "mixed3b", "mixed4a", "mixed4b", "mixed4c", "mixed4d", "mixed4e",
                          "mixed5a", "mixed5b"});
  CHECK(chain(2) == Names{"block1", "block2"});
  CHECK(chain(0).empty());
}

TEST_CASE("names give the number when every block has one of its own") {
  GraphBuilder builder(3);
  std::vector<ValueId> joined{inception(builder, unit(builder, builder.input(), 6, 3))};
  for (int i = 0; i < 3; ++i) joined.push_back(inception(builder, joined.back()));
  const Graph plain = builder.whole_graph({joined.back()});
  const auto named = [&](const Names& tensors) {
    Graph graph = plain;
    for (size_t i = 0; i < tensors.size(); ++i)
      graph.values[static_cast<size_t>(joined[i])].name = tensors[i];
    recognise_blocks(graph);
    return names(graph);
  };
  CHECK(named({"inception_4c/output", "/inception5a/Concat_output_0", "mixed3b", "x.Mixed_5c.concat"}) ==
        Names{"mixed4c", "mixed5a", "mixed3b", "mixed5c"});
  CHECK(named({"inception_4c/output", "inception_4c/output_2", "mixed3b", "mixed4a"}) ==
        Names{"block1", "block2", "block3", "block4"});
  CHECK(named({"inception_4c", "cat_2", "mixed3b", "mixed4a"}) ==
        Names{"block1", "block2", "block3", "block4"});
  CHECK(named({"inception_v1", "mixed10", "inception_4cd", "unmixed"}) ==
        Names{"block1", "block2", "block3", "block4"});
}

TEST_CASE("a number that only the paths' names carry") {
  GraphBuilder builder(3);
  const ValueId joined = inception(builder, unit(builder, builder.input(), 6, 3));
  Graph graph = builder.whole_graph({joined});
  const Node& concat = graph.nodes[static_cast<size_t>(graph.producer(joined))];
  for (const ValueId id : concat.inputs)
    graph.values[static_cast<size_t>(id)].name = std::string("/mixed4b/relu").append(std::to_string(id));
  recognise_blocks(graph);
  CHECK(names(graph) == Names{"mixed4b"});
}

TEST_CASE("a ReLU after the concat is the block's; before it the branches are ranges of the concat") {
  GraphBuilder builder(3);
  const ValueId stem = unit(builder, builder.input(), 6, 3);
  const ValueId joined = inception(builder, stem, false);
  const ValueId relu = builder.add(ReluOp{}, joined);
  const Graph graph = finish(builder, inception(builder, relu));
  REQUIRE(graph.blocks.size() == 2);
  CHECK(graph.blocks[0].value == relu);
  for (const Branch& branch : graph.blocks[0].branches) {
    CHECK(branch.value == relu);
    CHECK(branch.pre_value == joined);
  }
  const Tap after = resolve_tap(graph, "block1.5x5"), before = resolve_tap(graph, "block1.5x5:pre");
  REQUIRE(before.parts.size() == 1);
  CHECK(before.parts[0].value == joined);
  CHECK(before.parts[0].begin == 5);
  CHECK(before.parts[0].end == 9);
  CHECK(after.parts[0].value == relu);
  CHECK(resolve_tap(graph, "block1:pre").width() == 10);
}

TEST_CASE("batch normalisation, pads and an unusual order change nothing") {
  GraphBuilder builder(3);
  const ValueId stem = unit(builder, builder.input(), 6, 3);
  const auto normalised = [&](ValueId from, int64_t outputs, int64_t kernel) {
    const ValueId padded = builder.add(PadOp{{kernel / 2, kernel / 2}, {kernel / 2, kernel / 2}, 0}, from);
    return builder.add(ReluOp{}, builder.affine(builder.conv(padded, outputs, window(kernel))));
  };
  const ValueId pool = normalised(builder.add(AveragePoolOp{window(3, 1, 1)}, stem), 2, 1);
  const ValueId wide = normalised(normalised(stem, 2, 1), 3, 3);
  const ValueId joined = builder.concat({pool, normalised(stem, 1, 1), wide, normalised(wide, 2, 3)});
  const Graph graph = finish(builder, joined);
  REQUIRE(graph.blocks.size() == 1);
  const std::vector<Branch>& branches = graph.blocks[0].branches;
  CHECK(branches[0].name == "1x1");  // by place
  CHECK(branches[0].kernel == "avg 3x3 + 1x1");
  CHECK(branches[2].kernel == "3x3");
  CHECK(branches[3].name == "pool");
  CHECK(branches[3].kernel == "3x3");
}

TEST_CASE("three and five paths are numbered; a pool alone may be one") {
  GraphBuilder builder(3);
  const ValueId stem = unit(builder, builder.input(), 6, 3);
  const ValueId joined = builder.concat(
      {unit(builder, stem, 2, 1), unit(builder, stem, 2, 3), builder.add(MaxPoolOp{window(3, 1, 1)}, stem)});
  const Graph graph = finish(builder, joined);
  REQUIRE(graph.blocks.size() == 1);
  CHECK(graph.blocks[0].branches[0].name == "branch1");
  CHECK(graph.blocks[0].branches[2].name == "branch3");
  CHECK(graph.blocks[0].branches[2].kernel == "max 3x3");
  CHECK(graph.blocks[0].branches[2].pre_value == kNoValue);
}

TEST_CASE("what is no inception block") {
  SUBCASE("two paths, as in SqueezeNet") {
    GraphBuilder builder(3);
    const ValueId squeeze = unit(builder, builder.input(), 6, 1);
    CHECK(finish(builder, builder.concat({unit(builder, squeeze, 2, 1), unit(builder, squeeze, 2, 3)}))
              .blocks.empty());
  }
  SUBCASE("the common value itself among the parts, as in DenseNet") {
    GraphBuilder builder(3);
    const ValueId a = unit(builder, builder.input(), 6, 1);
    CHECK(
        finish(builder, builder.concat({a, unit(builder, a, 2, 3), unit(builder, a, 2, 3)})).blocks.empty());
  }
  SUBCASE("pools of several sizes, as in SPP") {
    GraphBuilder builder(3);
    const ValueId a = unit(builder, builder.input(), 6, 1);
    const auto pool = [&](int64_t kernel) {
      return builder.add(MaxPoolOp{window(kernel, 1, kernel / 2)}, a);
    };
    CHECK(finish(builder, builder.concat({pool(3), pool(5), pool(7)})).blocks.empty());
  }
  SUBCASE("paths that meet only through an addition") {
    GraphBuilder builder(3);
    const ValueId a = unit(builder, builder.input(), 6, 1), b = unit(builder, builder.input(), 6, 1);
    const ValueId sum = builder.add(BinaryOp{BinaryOp::Kind::kAdd}, {a, b});
    CHECK(finish(builder,
                 builder.concat({unit(builder, a, 2, 1), unit(builder, b, 2, 1), unit(builder, sum, 2, 1)}))
              .blocks.empty());
  }
}
