#include "tests/reference/network.h"

#include <doctest/doctest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "tests/reference/graph_builder.h"
#include "tests/test_data.h"

using namespace branchsae;
using nlohmann::json;

namespace {

/// ONNX Runtime computes in float32: a rounding of 2^-24 a term, some tens of terms, then pow() for LRN.
constexpr double kFloatTolerance = 2e-6;

reference::Array array(const json& value) {
  return {value.at("shape").get<Shape>(), value.at("data").get<std::vector<double>>()};
}

ConstTensor tensor(const json& value) {
  const auto data = value.at("data").get<std::vector<float>>();
  return std::make_shared<HostTensor>(value.at("shape").get<Shape>(), data);
}

Window read_window(const json& attributes) {
  Window window;
  using Pair = std::array<int64_t, 2>;
  window.kernel = attributes.at("kernel_shape").get<Pair>();
  window.stride = attributes.at("strides").get<Pair>();
  window.dilation = attributes.value("dilations", Pair{1, 1});
  const auto pads = attributes.value("pads", std::array<int64_t, 4>{0, 0, 0, 0});
  window.pad_begin = {pads[0], pads[1]};
  window.pad_end = {pads[2], pads[3]};
  const std::string auto_pad = attributes.value("auto_pad", "NOTSET");
  if (auto_pad == "SAME_UPPER") window.auto_pad = AutoPad::kSameUpper;
  if (auto_pad == "SAME_LOWER") window.auto_pad = AutoPad::kSameLower;
  return window;
}

Op read_op(const json& test) {
  const std::string op = test.at("op");
  const json& attributes = test.at("attributes");
  const bool ceil_mode = attributes.value("ceil_mode", 0) != 0;
  if (op == "Conv") {
    return ConvOp{tensor(test.at("inputs")[1]), tensor(test.at("inputs")[2]), read_window(attributes),
                  attributes.at("group").get<int64_t>(), false};
  }
  if (op == "MaxPool") return MaxPoolOp{read_window(attributes), ceil_mode};
  if (op == "AveragePool") {
    return AveragePoolOp{read_window(attributes), ceil_mode, attributes.at("count_include_pad") == 1};
  }
  if (op == "LRN") {
    return LrnOp{attributes.at("size"), attributes.at("alpha"), attributes.at("beta"), attributes.at("bias")};
  }
  REQUIRE(op == "Softmax");
  return SoftmaxOp{};
}

/// One node on an input of the test's channels. A 2-D input goes through as [N, C, 1, 1] and a Flatten.
reference::Array run(const json& test) {
  reference::Array images = array(test.at("inputs")[0]);
  const bool flat = images.shape.size() == 2;
  if (flat) images.shape.resize(4, 1);
  reference::GraphBuilder build(images.dim(1));
  const ValueId src = flat ? build.flatten(build.input(), images.dim(1)) : build.input();
  const ValueId dst = build.add(read_op(test), src);
  return reference::run_network(build.graph({dst}), images).at(static_cast<size_t>(dst));
}

}  // namespace

TEST_CASE("reference: each operator as ONNX Runtime computes it") {
  std::ifstream file(test::source_folder() / "tests" / "golden" / "ops.json");
  REQUIRE(file.good());
  std::map<std::string, int> seen;
  int number = 0;
  for (const json& test : json::parse(file)) {
    const std::string where = std::to_string(number++) + " " + test.at("op").get<std::string>() + " " +
                              test.at("attributes").dump() + " on " + test.at("inputs")[0].at("shape").dump();
    const reference::Array expected = array(test.at("output"));
    const reference::Array got = run(test);
    REQUIRE_MESSAGE(got.shape == expected.shape, where);
    CHECK_MESSAGE(reference::relative_error(got, expected) <= kFloatTolerance, where);
    ++seen[test.at("op").get<std::string>()];
  }
  CHECK(seen.at("Conv") >= 30);
  CHECK(seen.at("MaxPool") >= 30);
  CHECK(seen.at("AveragePool") >= 30);
  CHECK(seen.at("LRN") >= 10);
  CHECK(seen.at("Softmax") >= 2);
}

TEST_CASE("reference: token layout and relative error") {
  reference::Array value(Shape{2, 3, 1, 2}, std::vector<double>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
  const reference::Array rows = reference::tokens(value);
  CHECK(rows.shape == Shape{4, 3});
  CHECK(rows.data == std::vector<double>{0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11});
  reference::Array other = value;
  CHECK(reference::relative_error(value, other) == 0.0);
  other.data[0] = 1;
  CHECK(reference::relative_error(other, value) == doctest::Approx(1 / std::sqrt(506.0)));
  other.data[0] = std::numeric_limits<double>::quiet_NaN();
  CHECK(std::isinf(reference::relative_error(other, value)));
  CHECK_THROWS_AS(reference::relative_error(rows, value), ShapeError);
  CHECK_THROWS_AS(reference::run_network(reference::GraphBuilder(4).graph({0}), value), ShapeError);
}
