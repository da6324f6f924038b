#include "tests/reference/golden.h"

#include <doctest/doctest.h>

#include "engine/passes.h"
#include "engine/preprocess.h"
#include "loader/onnx_loader.h"

using namespace branchsae;

namespace {

/// The expected values are float32 through 22 layers and a softmax, ours double: 2e-6 has been seen, mostly
/// ONNX Runtime's own rounding. A wrong weight, pad or order of channels shows at 1e-2 and more.
constexpr double kFloatTolerance = 1e-5;

void check_values(const Graph& graph, const reference::GoldenSet& set) {
  const std::vector<reference::Array> values = reference::run_network(graph, set.images);
  for (const reference::GoldenOutput& output : set.outputs) {
    const reference::Array& got = values.at(static_cast<size_t>(output.find(graph)));
    REQUIRE_MESSAGE(got.data.size() == output.value.data.size(), output.name());
    const reference::Array reshaped(output.value.shape, got.data);  // [N, C, 1, 1] and [N, C] are alike
    const double error = reference::relative_error(reshaped, output.value);
    CHECK_MESSAGE(error <= kFloatTolerance, graph.source, " ", output.name(), ": ", error);
  }
}

void check_blocks(const Graph& graph, const std::vector<reference::GoldenBlock>& expected) {
  REQUIRE(graph.blocks.size() == expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    const Block& block = graph.blocks[i];
    CHECK(block.name == expected[i].name);
    REQUIRE(block.branches.size() == expected[i].branches.size());
    for (size_t j = 0; j < block.branches.size(); ++j) {
      const Branch& branch = block.branches[j];
      const reference::GoldenBranch& wanted = expected[i].branches[j];
      CHECK(branch.name == wanted.name);
      CHECK(branch.kernel == wanted.kernel);
      CHECK(branch.begin == wanted.begin);
      CHECK(branch.end == wanted.end);
      CHECK(branch.pre_value != kNoValue);
    }
  }
}

/// Every model of a set, as loaded and after the passes.
void check_set(const std::string& name) {
  const reference::GoldenSet set = reference::read_golden(name);
  REQUIRE(set.models.size() >= 3);
  REQUIRE(set.outputs.size() >= 5);
  for (const std::filesystem::path& path : set.models) {
    CAPTURE(path.filename());
    Graph graph;
    REQUIRE_NOTHROW(graph = load_onnx(path));
    check_blocks(graph, set.blocks);
    check_values(graph, set);
    std::vector<ValueId> wanted;
    for (const reference::GoldenOutput& output : set.outputs) wanted.push_back(output.find(graph));
    check_values(optimise(graph, wanted), set);
  }
}

int count(const Graph& graph, const std::string& op) {
  int found = 0;
  for (const Node& node : graph.nodes) found += op_name(node.op) == op ? 1 : 0;
  return found;
}

Graph optimised(const std::filesystem::path& path) {
  const Graph graph = load_onnx(path);
  return optimise(graph, graph.outputs);
}

}  // namespace

TEST_CASE("golden: torchvision's exports load, have the right branches and ONNX Runtime's values") {
  check_set("torchvision");
}

TEST_CASE("golden: lucid's exports load, have the right branches and ONNX Runtime's values") {
  check_set("lucid");
}

TEST_CASE("golden: the old model zoo's files load, have the right branches and ONNX Runtime's values") {
  check_set("zoo");
}

TEST_CASE("golden: the passes leave no work that weights and windows can take over") {
  for (const std::filesystem::path& path : reference::read_golden("torchvision").models) {
    const Graph graph = optimised(path);
    // The input's own arithmetic stays: the convolution behind it pads with zeros.
    CHECK_MESSAGE(count(graph, "Affine") <= 1, path);
    CHECK_MESSAGE(count(graph, "Relu") == 0, path);
  }
  for (const char* set : {"lucid", "zoo"}) {
    for (const std::filesystem::path& path : reference::read_golden(set).models) {
      const Graph graph = optimised(path);
      for (const char* op : {"Pad", "Affine", "Relu", "Flatten"}) CHECK_MESSAGE(count(graph, op) == 0, path);
      CHECK_MESSAGE(count(graph, "LRN") == 2, path);
    }
  }
}
