#include "engine/passes.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <string>

#include "engine/error.h"
#include "engine/validate.h"
#include "tests/reference/graph_builder.h"
#include "tests/reference/network.h"
#include "tests/reference/random_graph.h"

using namespace branchsae;
using reference::GraphBuilder;
using reference::window;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// Folded weights are computed in double and rounded to float32 once, 2^-24 = 6e-8 each; a network a dozen
/// layers deep whose gains are near 1 stays within some ten times that.
constexpr double kFoldTolerance = 1e-6;

int count(const Graph& graph, const std::string& op) {
  return static_cast<int>(
      std::ranges::count_if(graph.nodes, [&](const Node& node) { return op_name(node.op) == op; }));
}

/// Largest relative error of the wanted values, after against before.
double difference(const Graph& before, const Graph& after, const std::vector<ValueId>& wanted,
                  const Shape& shape, uint64_t seed = 1) {
  validate(after);
  const reference::Array images = reference::random_images(shape, seed);
  const auto expected = reference::run_network(before, images);
  const auto got = reference::run_network(after, images);
  double worst = 0;
  for (const ValueId id : wanted) {
    const auto i = static_cast<size_t>(id);
    worst = std::max(worst, reference::relative_error(got[i], expected[i]));
  }
  return worst;
}

/// Runs a pass on the graph with one output and compares.
Graph check(const GraphBuilder& build, ValueId output, Graph (*pass)(Graph, const std::vector<ValueId>&),
            double tolerance, const std::vector<ValueId>& keep = {}, Shape shape = {2, 3, 9, 8}) {
  const Graph before = build.graph({output});
  const Graph after = pass(before, keep);
  std::vector<ValueId> wanted = keep;
  wanted.push_back(output);
  CHECK(difference(before, after, wanted, shape) <= tolerance);
  return after;
}

PadOp pad_op(int64_t begin, int64_t end, float value) {
  return {{begin, begin}, {end, end}, value};
}

}  // namespace

TEST_CASE("fold_affine: batch normalisation goes into the convolution or linear layer before it") {
  GraphBuilder build(3);
  ValueId at = build.affine(build.conv(build.input(), 6, window(3, 1, 1), 3));
  at = build.add(ReluOp{}, at);
  at = build.affine(build.linear(at, 6 * 9 * 8, 5));
  const Graph after = check(build, at, fold_affine, kFoldTolerance);
  CHECK(count(after, "Affine") == 0);
  CHECK(after.nodes.size() == 3);
}

TEST_CASE("fold_affine: nothing is folded over a kept, shared or fused value") {
  GraphBuilder build(3);
  const ValueId kept = build.conv(build.input(), 4, window(3));
  ValueId at = build.add(ReluOp{}, build.affine(kept));
  const ValueId shared = build.conv(at, 4, window(1));
  at = build.concat({build.affine(shared), shared});
  const ValueId fused = build.conv(at, 4, window(1), 1, true);
  at = build.affine(fused);
  // The last affine cannot join the ReLU before it and has no reader; the first ends in a ReLU.
  const Graph after = check(build, at, fold_affine, 0.0, {kept});
  CHECK(count(after, "Affine") == 3);
  CHECK(after.nodes.size() == build.graph({at}).nodes.size());
}

TEST_CASE("fold_affine: a graph output survives without being listed") {
  GraphBuilder build(3);
  const ValueId inner = build.conv(build.input(), 4, window(3));
  const ValueId last = build.affine(inner);
  const Graph before = build.graph({inner, last});
  const Graph after = fold_affine(before, {});
  CHECK(difference(before, after, {inner, last}, {1, 3, 5, 5}) == 0.0);
}

TEST_CASE("fold_affine: before a convolution only where padding stays zero") {
  GraphBuilder build(4);
  const auto with = [&](bool shifted, const Window& sliding, int64_t groups) {
    return build.conv(build.affine(build.input(), shifted), 6, sliding, groups);
  };
  Window same = window(3);
  same.auto_pad = AutoPad::kSameUpper;
  Window one_side = window(2);
  one_side.pad_end = {0, 1};
  const Shape shape{2, 4, 7, 6};
  SUBCASE("no padding") {
    CHECK(count(check(build, with(true, window(3), 2), fold_affine, kFoldTolerance, {}, shape), "Affine") ==
          0);
  }
  SUBCASE("padding, no shift") {
    CHECK(count(check(build, with(false, window(3, 2, 1), 1), fold_affine, kFoldTolerance, {}, shape),
                "Affine") == 0);
  }
  SUBCASE("padding and shift") {
    CHECK(count(check(build, with(true, window(3, 1, 1), 1), fold_affine, 0.0, {}, shape), "Affine") == 1);
  }
  SUBCASE("padding at one end only") {
    CHECK(count(check(build, with(true, one_side, 1), fold_affine, 0.0, {}, shape), "Affine") == 1);
  }
  SUBCASE("automatic padding") {
    CHECK(count(check(build, with(true, same, 1), fold_affine, 0.0, {}, shape), "Affine") == 1);
  }
}

TEST_CASE("fold_affine: one affine goes into all its readers, or stays for those that cannot take it") {
  GraphBuilder build(3);
  const ValueId affine = build.affine(build.input());
  const ValueId free = build.conv(affine, 2, window(1));
  const ValueId padded = build.conv(affine, 2, window(3, 1, 1));
  SUBCASE("all") {
    const ValueId at = build.concat({free, build.conv(affine, 3, window(1))});
    CHECK(count(check(build, at, fold_affine, kFoldTolerance), "Affine") == 0);
  }
  SUBCASE("some") {
    const Graph after = check(build, build.concat({free, padded}), fold_affine, kFoldTolerance);
    CHECK(count(after, "Affine") == 1);
    CHECK(after.consumers(affine).size() == 1);
  }
}

TEST_CASE("fold_affine: chains, and channels of a flattened image") {
  GraphBuilder build(3);
  ValueId at = build.affine(build.affine(build.affine(build.input())));
  at = build.linear(at, 3 * 9 * 8, 4);
  const Graph after = check(build, at, fold_affine, kFoldTolerance);
  CHECK(after.nodes.size() == 1);
}

TEST_CASE("fold_affine: weights that float32 cannot hold are left alone") {
  GraphBuilder build(3);
  const ValueId conv = build.conv(build.input(), 1, window(1));
  const std::vector<float> huge{3e38F}, none{0.0F};
  AffineOp up{std::make_shared<HostTensor>(Shape{1}, huge), std::make_shared<HostTensor>(Shape{1}, none)};
  const ValueId first = build.add(up, conv);
  const ValueId second = build.add(up, first);
  const Graph after = fold_affine(build.graph({second}), {});
  CHECK(count(after, "Affine") == 1);  // one can be taken over, the square of it cannot
  CHECK(difference(build.graph({second}), after, {second}, {1, 3, 4, 4}) <= kFoldTolerance);
}

TEST_CASE("fold_pads: zeros into a convolution") {
  GraphBuilder build(3);
  const ValueId padded = build.add(pad_op(1, 2, 0.0F), build.input());
  const ValueId at = build.conv(padded, 4, window(3, 2, 1));
  SUBCASE("folded") {
    const Graph after = check(build, at, fold_pads, 0.0);
    REQUIRE(after.nodes.size() == 1);
    const Window& sliding = std::get<ConvOp>(after.nodes[0].op).window;
    CHECK(sliding.pad_begin == std::array<int64_t, 2>{2, 2});
    CHECK(sliding.pad_end == std::array<int64_t, 2>{3, 3});
  }
  SUBCASE("a kept padded tensor stays, and nobody reads it") {
    const Graph after = check(build, at, fold_pads, 0.0, {padded});
    CHECK(after.nodes.size() == 2);
    CHECK(after.consumers(padded).empty());
  }
}

TEST_CASE("fold_pads: what is not zero padding of a convolution stays") {
  const auto pads_left = [](const PadOp& pad, Window sliding) {
    GraphBuilder build(3);
    const ValueId at = build.conv(build.add(pad, build.input()), 4, sliding);
    return count(check(build, at, fold_pads, 0.0), "Pad");
  };
  Window same = window(3);
  same.auto_pad = AutoPad::kSameLower;
  CHECK(pads_left(pad_op(1, 1, 0.5F), window(3)) == 1);
  CHECK(pads_left(pad_op(-1, 1, 0.0F), window(3, 1, 1)) == 1);
  CHECK(pads_left(pad_op(1, 1, 0.0F), same) == 1);
}

TEST_CASE("fold_pads: into a max pool, where padding cannot win") {
  GraphBuilder build(3);
  const auto pooled = [&](ValueId src, const PadOp& pad, const Window& sliding, bool ceil_mode) {
    return build.add(MaxPoolOp{sliding, ceil_mode}, build.add(pad, src));
  };
  const ValueId positive = build.add(ReluOp{}, build.conv(build.input(), 4, window(1)));
  const auto pads_left = [&](ValueId at) { return count(check(build, at, fold_pads, 0.0), "Pad"); };
  SUBCASE("minus infinity") {
    CHECK(pads_left(pooled(build.input(), pad_op(0, 1, -kInfinity), window(3, 2), false)) == 0);
  }
  SUBCASE("zero beside positive numbers") {
    CHECK(pads_left(pooled(positive, pad_op(1, 1, 0.0F), window(3, 1), false)) == 0);
  }
  SUBCASE("zero beside any numbers") {
    CHECK(pads_left(pooled(build.input(), pad_op(1, 1, 0.0F), window(3, 1), false)) == 1);
  }
  SUBCASE("one") {
    CHECK(pads_left(pooled(positive, pad_op(1, 1, 1.0F), window(3, 1), false)) == 1);
  }
  SUBCASE("a window that would see padding only") {
    CHECK(pads_left(pooled(positive, pad_op(2, 0, 0.0F), window(2, 1), false)) == 1);
  }
  SUBCASE("... at the end") {
    CHECK(pads_left(pooled(positive, pad_op(0, 2, 0.0F), window(2, 1), false)) == 1);
  }
  SUBCASE("... made by rounding up") {
    CHECK(pads_left(pooled(positive, pad_op(0, 2, 0.0F), window(3, 2), true)) == 1);
  }
  SUBCASE("rounding up, with room") {
    CHECK(pads_left(pooled(positive, pad_op(1, 1, 0.0F), window(3, 2), true)) == 0);
  }
  SUBCASE("added to the pool's own padding") {
    CHECK(pads_left(pooled(positive, pad_op(1, 0, 0.0F), window(4, 2, 2), false)) == 0);
  }
}

TEST_CASE("fold_pads: what is proved never negative") {
  GraphBuilder build(3);
  const ValueId relu = build.add(ReluOp{}, build.input());
  const auto pads_left = [&](ValueId src) {
    const ValueId at = build.add(MaxPoolOp{window(3), false}, build.add(pad_op(1, 1, 0.0F), src));
    return count(check(build, at, fold_pads, 0.0), "Pad");
  };
  CHECK(pads_left(build.add(LrnOp{}, build.add(MaxPoolOp{window(2), false}, relu))) == 0);
  CHECK(pads_left(build.concat({relu, build.conv(build.input(), 2, window(1), 1, true)})) == 0);
  CHECK(pads_left(build.concat({relu, build.conv(build.input(), 2, window(1))})) == 1);
  CHECK(pads_left(build.add(ClipOp{0.0F, 6.0F}, build.input())) == 0);
  CHECK(pads_left(build.add(ClipOp{-1.0F, 6.0F}, build.input())) == 1);
  CHECK(pads_left(build.affine(relu, true)) == 1);
  CHECK(pads_left(build.affine(relu, false)) == 0);
  CHECK(pads_left(build.add(BinaryOp{BinaryOp::Kind::kSub}, std::vector<ValueId>{relu, relu})) == 1);
  CHECK(pads_left(build.add(BinaryOp{BinaryOp::Kind::kAdd}, std::vector<ValueId>{relu, relu})) == 0);
}

TEST_CASE("fold_pads: zeros into an average pool count as elements") {
  GraphBuilder build(3);
  const auto pads_left = [&](const Window& sliding, bool ceil_mode, bool count_include_pad, float value) {
    const ValueId at = build.add(AveragePoolOp{sliding, ceil_mode, count_include_pad},
                                 build.add(pad_op(1, 1, value), build.input()));
    return count(check(build, at, fold_pads, 0.0), "Pad");
  };
  CHECK(pads_left(window(3, 2), false, false, 0.0F) == 0);
  CHECK(pads_left(window(3, 2), true, false, 0.0F) == 0);
  CHECK(pads_left(window(3, 1, 1), false, true, 0.0F) == 0);
  CHECK(pads_left(window(3, 1, 1), false, false, 0.0F) == 1);  // its own padding does not count
  CHECK(pads_left(window(3, 1), false, false, 1.0F) == 1);
}

TEST_CASE("fuse_relu: into convolution and linear layer, never over a kept value") {
  GraphBuilder build(3);
  const ValueId conv = build.conv(build.input(), 4, window(3));
  const ValueId relu = build.add(ReluOp{}, conv);
  const ValueId linear = build.linear(relu, 4 * 7 * 6, 5);
  const ValueId last = build.add(ClipOp{0.0F, kInfinity}, linear);
  SUBCASE("fused") {
    CHECK(check(build, last, fuse_relu, 0.0).nodes.size() == 2);
  }
  SUBCASE("kept") {
    const Graph after = check(build, last, fuse_relu, 0.0, {conv, relu});
    CHECK(after.nodes.size() == 3);
    CHECK(count(after, "Relu") == 1);
  }
  SUBCASE("read by another") {
    const ValueId both = build.concat({relu, conv});
    CHECK(count(check(build, both, fuse_relu, 0.0), "Relu") == 1);
  }
  SUBCASE("a clip with a ceiling is no ReLU") {
    const ValueId six = build.add(ClipOp{0.0F, 6.0F}, build.conv(relu, 2, window(1)));
    CHECK(count(check(build, six, fuse_relu, 0.0), "Clip") == 1);
  }
}

TEST_CASE("skip_flatten: a linear layer flattens by itself") {
  GraphBuilder build(3);
  const ValueId flat = build.flatten(build.input(), 3 * 9 * 8);
  const ValueId at = build.linear(flat, 3 * 9 * 8, 4);
  CHECK(check(build, at, skip_flatten, 0.0).nodes.size() == 1);
  CHECK(check(build, at, skip_flatten, 0.0, {flat}).nodes.size() == 2);
}

TEST_CASE("prune: only what the wanted values need is left") {
  GraphBuilder build(3);
  const ValueId first = build.conv(build.input(), 4, window(3));
  const ValueId second = build.add(ReluOp{}, first);
  build.linear(second, 4 * 7 * 6, 5);
  const ValueId side = build.add(MaxPoolOp{window(2), false}, build.input());
  const Graph before = build.whole_graph({second});
  CHECK(prune(before, {first}).nodes.size() == 1);
  CHECK(prune(before, {second, side, second}).nodes.size() == 3);
  CHECK(prune(before, {second, side, second}).outputs == std::vector<ValueId>{second, side});
  CHECK(prune(before, {before.input}).nodes.empty());
  CHECK_THROWS_AS(prune(before, {99}), InputError);
  CHECK_THROWS_AS(prune(before, {kNoValue}), InputError);
}

TEST_CASE("every pass and all together leave random graphs' kept values as they were") {
  struct Named {
    const char* name;
    Graph (*pass)(Graph, const std::vector<ValueId>&);
    double tolerance;
  };
  // Only folding into weights rounds; the others move the same arithmetic elsewhere.
  const Named passes[] = {{"fold_affine", fold_affine, kFoldTolerance},
                          {"fold_pads", fold_pads, 0.0},
                          {"fuse_relu", fuse_relu, 0.0},
                          {"skip_flatten", skip_flatten, 0.0},
                          {"prune", prune, 0.0},
                          {"optimise", optimise, kFoldTolerance}};
  std::map<std::string, int> seen, removed;
  for (uint64_t seed = 0; seed < 150; ++seed) {
    const Graph graph = reference::random_graph(seed, 3, 13, 11);
    validate(graph);
    for (const Node& node : graph.nodes) ++seen[op_name(node.op)];
    // A random inner value is kept as well.
    Random random(seed, 2);
    std::vector<ValueId> keep = graph.outputs;
    if (!graph.nodes.empty()) keep.push_back(graph.nodes[random.below(graph.nodes.size())].output);
    for (const Named& named : passes) {
      const Graph after = named.pass(graph, keep);
      removed[named.name] += static_cast<int>(graph.nodes.size() - after.nodes.size());
      const double error = difference(graph, after, keep, {2, 3, 13, 11}, seed);
      CHECK_MESSAGE(error <= named.tolerance, std::string(named.name), ", seed ", seed, ": ", error);
    }
  }
  // The random graphs must reach every op and give every pass work, else the comparison proves nothing.
  for (const std::string op :
       {"Conv", "MaxPool", "AveragePool", "GlobalAveragePool", "LRN", "Concat", "Linear", "Affine", "Relu",
        "Clip", "Softmax", "Flatten", "Pad", "Add", "Sub", "Mul", "Div"}) {
    CHECK_MESSAGE(seen[op] >= 5, op, " turned up ", seen[op], " times");
  }
  for (const std::string pass : {"fold_affine", "fold_pads", "fuse_relu", "skip_flatten", "optimise"}) {
    CHECK_MESSAGE(removed[pass] >= 10, pass, " removed ", removed[pass], " nodes");
  }
}
