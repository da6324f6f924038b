// The real BVLC GoogLeNet: the branch table that the rest of the project relies on.
#include <doctest/doctest.h>

#include "engine/passes.h"
#include "engine/taps.h"
#include "loader/onnx_loader.h"
#include "tests/test_data.h"

using namespace branchsae;
using namespace branchsae::test;

namespace {

struct Layer {
  const char* name;
  std::array<int64_t, 4> channels;  ///< of 1x1, 3x3, 5x5, pool
  int64_t grid;
};

/// Szegedy et al. 2014, table 1, columns #1x1, #3x3, #5x5, pool proj.
constexpr std::array<Layer, 9> kLayers{{{"mixed3a", {64, 128, 32, 32}, 28},
                                        {"mixed3b", {128, 192, 96, 64}, 28},
                                        {"mixed4a", {192, 208, 48, 64}, 14},
                                        {"mixed4b", {160, 224, 64, 64}, 14},
                                        {"mixed4c", {128, 256, 64, 64}, 14},
                                        {"mixed4d", {112, 288, 64, 64}, 14},
                                        {"mixed4e", {256, 320, 128, 128}, 14},
                                        {"mixed5a", {256, 320, 128, 128}, 7},
                                        {"mixed5b", {384, 384, 128, 128}, 7}}};

constexpr std::array<const char*, 4> kNames{"1x1", "3x3", "5x5", "pool"};
constexpr std::array<const char*, 4> kKernels{"1x1", "3x3", "5x5", "max 3x3 + 1x1"};

}  // namespace

TEST_CASE("the real GoogLeNet loads with its blocks, branches and preprocessing") {
  if (!data_folder()) {
    skip("needs the real model");
    return;
  }
  const Graph graph = load_onnx(*data_folder() / "model" / "googlenet.onnx");
  CHECK(graph.preprocess == caffe_preprocess());
  CHECK(graph.value(graph.input).shape == Shape{kDynamic, 3, kDynamic, kDynamic});
  CHECK(graph.value(graph.outputs.at(0)).shape == Shape{kDynamic, 1000});

  const std::vector<Shape> shapes = infer_shapes(graph, 2, 224, 224);
  REQUIRE(graph.blocks.size() == kLayers.size());
  for (size_t i = 0; i < kLayers.size(); ++i) {
    const Block& block = graph.blocks[i];
    CHECK(block.name == kLayers[i].name);
    REQUIRE(block.branches.size() == 4);
    int64_t begin = 0;
    for (size_t b = 0; b < 4; ++b) {
      const Branch& branch = block.branches[b];
      CAPTURE(block.name);
      CHECK(branch.name == kNames[b]);
      CHECK(branch.kernel == kKernels[b]);
      CHECK(branch.begin == begin);
      CHECK(branch.end == begin + kLayers[i].channels[b]);
      CHECK(branch.pre_value != kNoValue);
      begin = branch.end;
    }
    const Shape& shape = shapes[static_cast<size_t>(block.value)];
    CHECK(shape == Shape{2, begin, kLayers[i].grid, kLayers[i].grid});
  }
}

TEST_CASE("taps of the real GoogLeNet by layer, branch and tensor name") {
  if (!data_folder()) {
    skip("needs the real model");
    return;
  }
  const Graph graph = load_onnx(*data_folder() / "model" / "googlenet.onnx");
  CHECK(resolve_tap(graph, "mixed4c.5x5").width() == 64);
  CHECK(resolve_tap(graph, "mixed4a..mixed4e").width() == 512 + 512 + 512 + 528 + 832);
  CHECK(resolve_tap(graph, "inception_4c/5x5").parts.at(0).value == graph.blocks.at(4).branches.at(2).value);
  CHECK(resolve_tap(graph, "mixed4c.5x5:pre").parts.at(0).value ==
        graph.find_value("inception_4c/5x5_preact"));
}
