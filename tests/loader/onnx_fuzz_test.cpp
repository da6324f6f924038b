// Damaged files: whatever the bytes, loading ends with a graph or an InputError, without absurd memory.
#include <doctest/doctest.h>

#include <fstream>

#include "engine/error.h"
#include "engine/random.h"
#include "engine/validate.h"
#include "tests/loader/onnx_builder.h"
#include "tests/test_data.h"

namespace fs = std::filesystem;
using namespace branchsae;
using namespace branchsae::test;

namespace {

/// A little of everything: a block, normalisation, input arithmetic, shape arithmetic, constants, a branch.
OnnxBuilder rich_model() {
  OnnxBuilder b(13);
  b.input("x", {1, 3, 12, 12}).output("prob").output("aux");
  b.integers("i0", {}, {0})
      .integers("i1", {2}, {1, 2})
      .floats("half", {}, {0.5F})
      .weights("w7", {4, 3, 3, 3});
  b.weights("b7", {4}).weights("w1", {2, 4, 1, 1}).weights("w3", {2, 4, 3, 3}).weights("w5", {2, 4, 5, 5});
  b.floats("one", {4}, {1, 1, 1, 1})
      .integers("pads", {8}, {0, 0, 1, 1, 0, 0, 1, 1})
      .integers("axis1", {1}, {1});
  b.weights("fc", {5, 8}).weights("fcb", {5}).integers("minus", {1}, {-1}).integers("filled", {2}, {5, 5});
  b.node("Gather", {"x", "i0"}, {"g"}).integer("axis", 1);
  b.node("Unsqueeze", {"g", "axis1"}, {"u"});
  b.node("Mul", {"u", "half"}, {"m"});
  b.node("Gather", {"x", "i1"}, {"h"}).integer("axis", 1);
  b.node("Concat", {"m", "h"}, {"in"}).integer("axis", 1);
  b.node("Conv", {"in", "w7", "b7"}, {"c"}).integers("pads", {1, 1, 1, 1}).integers("strides", {2, 2});
  b.node("BatchNormalization", {"c", "one", "one", "one", "one"}, {"bn"}).real("epsilon", 1e-3F);
  b.node("Relu", {"bn"}, {"r"});
  b.node("LRN", {"r"}, {"n"}).integer("size", 5);
  b.node("Pad", {"n", "pads"}, {"p"});
  b.node("MaxPool", {"p"}, {"mp"}).integers("kernel_shape", {3, 3}).integer("ceil_mode", 1);
  b.node("Conv", {"n", "w1"}, {"a"});
  b.node("Conv", {"n", "w3"}, {"d"}).integers("pads", {1, 1, 1, 1});
  b.node("Conv", {"n", "w5"}, {"e"}).text("auto_pad", "SAME_UPPER");
  b.node("Conv", {"mp", "w1"}, {"f"});
  b.node("Concat", {"a", "d", "e", "f"}, {"cat"}, "inception_4c/output").integer("axis", 1);
  b.node("Dropout", {"cat"}, {"dr", "mask"});
  b.node("ReduceMean", {"dr"}, {"mean"}).integers("axes", {2, 3});
  b.node("Shape", {"mean"}, {"s"});
  b.node("Slice", {"s", "i0v", "axis1"}, {"s0"});
  b.integers("i0v", {1}, {0});
  b.node("Concat", {"s0", "minus"}, {"target"}).integer("axis", 0);
  b.node("Reshape", {"mean", "target"}, {"flat"});
  b.node("Gemm", {"flat", "fc", "fcb"}, {"logits"}).integer("transB", 1).real("alpha", 0.5F);
  b.node("Softmax", {"logits"}, {"prob"}).integer("axis", 1);
  b.node("ConstantOfShape", {"filled"}, {"zeros"});
  b.node("MatMul", {"logits", "zeros"}, {"aux"});
  return b;
}

enum class Outcome { kGraph, kRefused };

Outcome load_bytes(const std::string& bytes, const fs::path& path) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  LoadOptions options;
  options.max_constant_bytes = 1 << 20;
  try {
    const Graph graph = load_onnx(path, options);
    validate(graph);
    return Outcome::kGraph;
  } catch (const InputError& error) {
    const std::string message = error.what();
    CHECK(message.find('\n') == std::string::npos);
    CHECK(!message.empty());
    return Outcome::kRefused;
  }
}

/// One to four changes: a byte set, a bit flipped, bytes removed, doubled or overwritten with another part.
std::string mutate(const std::string& original, Random& random) {
  std::string bytes = original;
  const int64_t changes = 1 + static_cast<int64_t>(random.below(4));
  for (int64_t i = 0; i < changes; ++i) {
    const size_t at = static_cast<size_t>(random.below(bytes.size()));
    const size_t length = std::min(bytes.size() - at, static_cast<size_t>(1 + random.below(12)));
    switch (random.below(5)) {
      case 0:
        bytes[at] = static_cast<char>(random.below(256));
        break;
      case 1:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << random.below(8)));
        break;
      case 2:
        bytes.erase(at, length);
        break;
      case 3:
        bytes.insert(at, bytes.substr(at, length));
        break;
      default: {
        const size_t from = static_cast<size_t>(random.below(bytes.size() - length + 1));
        bytes.replace(at, length, bytes.substr(from, length));
      }
    }
    if (bytes.empty()) bytes = "\n";
  }
  return bytes;
}

}  // namespace

TEST_CASE("the undamaged model loads, with its block") {
  const Graph graph = rich_model().load();
  REQUIRE(graph.blocks.size() == 1);
  CHECK(graph.blocks[0].name == "mixed4c");
  CHECK(graph.outputs.size() == 2);
}

TEST_CASE("mutated bytes give a graph or an InputError") {
  const std::string original = rich_model().bytes();
  const fs::path path = temporary_folder() / "mutated.onnx";
  Random random(20240601, 0);
  int graphs = 0, refused = 0;
  for (int round = 0; round < 6000; ++round) {
    CAPTURE(round);
    const Outcome outcome = load_bytes(mutate(original, random), path);
    (outcome == Outcome::kGraph ? graphs : refused) += 1;
  }
  // Changes in weights and names go unnoticed, others do not: both must have been seen often.
  CHECK(graphs > 300);
  CHECK(refused > 300);
}

TEST_CASE("mutated numbers in attributes and integer constants give a graph or an InputError") {
  const fs::path path = temporary_folder() / "numbers.onnx";
  Random random(7, 1);
  const std::vector<int64_t> values{0,         1,  -1,    2,         3,         4,         1000, INT32_MAX,
                                    INT32_MIN, -2, 65536, INT64_MAX, INT64_MIN, 1LL << 40, 5};
  int refused = 0;
  for (int round = 0; round < 3000; ++round) {
    OnnxBuilder builder = rich_model();
    const auto pick = [&] { return values[static_cast<size_t>(random.below(values.size()))]; };
    for (int change = 0; change < 2; ++change) {
      auto* node = builder.graph().mutable_node(
          static_cast<int>(random.below(static_cast<uint64_t>(builder.graph().node_size()))));
      for (auto& attribute : *node->mutable_attribute()) {
        if (attribute.type() == ::onnx::AttributeProto::INT) attribute.set_i(pick());
        for (int64_t& number : *attribute.mutable_ints()) {
          if (random.below(2) == 0) number = pick();
        }
      }
      auto* tensor = builder.graph().mutable_initializer(
          static_cast<int>(random.below(static_cast<uint64_t>(builder.graph().initializer_size()))));
      for (int64_t& number : *tensor->mutable_int64_data()) number = pick();
      if (random.below(4) == 0 && tensor->dims_size() > 0) tensor->set_dims(0, pick());
    }
    CAPTURE(round);
    if (load_bytes(builder.bytes(), path) == Outcome::kRefused) ++refused;
  }
  CHECK(refused > 300);
}
