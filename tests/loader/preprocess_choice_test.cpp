// The order in which preprocessing is decided, and what decides it.
#include "loader/preprocess_choice.h"

#include <doctest/doctest.h>

#include <fstream>

#include "engine/error.h"
#include "tests/loader/onnx_builder.h"
#include "tests/test_data.h"

namespace fs = std::filesystem;
using namespace branchsae;
using namespace branchsae::test;

namespace {

using Metadata = std::map<std::string, std::string>;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// An input and one node, with what the graph's own rules look at.
struct GraphTraits {
  int64_t channels = 3;
  bool has_lrn = false;
  int64_t outputs = 10;
  std::string value_name = "y";
  std::string block_name = {};
  int64_t block_channels = 0;

  Graph build() const {
    Graph graph;
    graph.values = {{"x", {kDynamic, channels, 224, 224}}, {value_name, {kDynamic, outputs}}};
    graph.input = 0;
    graph.outputs = {1};
    graph.nodes.push_back({"node", has_lrn ? Op(LrnOp{}) : Op(ReluOp{}), {0}, 1});
    if (!block_name.empty()) {
      graph.blocks.push_back({block_name, 1, {{"1x1", 0, block_channels, "1x1", 1, kNoValue}}});
    }
    return graph;
  }
};

std::optional<Preprocess> choose(const GraphTraits& traits, const fs::path& model = "/nowhere/net.onnx",
                                 const Metadata& metadata = {}, const std::string& option = "") {
  Graph graph = traits.build();
  choose_preprocess(graph, model, metadata, option);
  CHECK(!graph.preprocess_reason.empty());
  return graph.preprocess;
}

fs::path model_with_json(const std::string& json, const std::string& json_name = "net.onnx.json") {
  const fs::path folder = temporary_folder();
  std::ofstream(folder / json_name) << json;
  return folder / "net.onnx";
}

}  // namespace

TEST_CASE("the graph decides") {
  CHECK(choose({.has_lrn = true, .value_name = "inception_4c/5x5_1"}) == caffe_preprocess());
  CHECK(choose({.has_lrn = true, .outputs = 1000}) == caffe_preprocess());
  CHECK(choose({.has_lrn = true, .outputs = 1008, .block_name = "mixed4a", .block_channels = 508}) ==
        lucid_preprocess());
  CHECK(choose({.block_name = "block1", .block_channels = 64}) == torchvision_preprocess());
}

TEST_CASE("the graph does not decide") {
  CHECK(!choose({.has_lrn = true, .outputs = 1008}));
  CHECK(!choose({}));  // neither LRN nor inception blocks
  CHECK(!choose({.channels = 1, .has_lrn = true, .outputs = 1000}));
  Graph graph = GraphTraits{}.build();
  choose_preprocess(graph, "/nowhere/net.onnx", {}, "");
  CHECK(contains(graph.preprocess_reason, "--preprocess"));
  CHECK(contains(graph.preprocess_reason, "net.onnx.json"));
}

TEST_CASE("the option comes before the file, the file before ONNX properties, these before the graph") {
  const GraphTraits bvlc{.has_lrn = true, .outputs = 1000};
  const fs::path model = model_with_json(R"({"preprocess": "lucid"})");
  const Metadata metadata{{"preprocess", "torchvision"}};
  CHECK(choose(bvlc, model, metadata, "1,2,BGR,255") == parse_preprocess("1,2,BGR,255"));
  CHECK(choose(bvlc, model, metadata) == lucid_preprocess());
  CHECK(choose(bvlc, "/nowhere/net.onnx", metadata) == torchvision_preprocess());
  CHECK(choose(bvlc, "/nowhere/net.onnx", {{"branchsae.preprocess", "lucid"}, {"preprocess", "caffe"}}) ==
        lucid_preprocess());
  CHECK(choose(bvlc) == caffe_preprocess());
}

TEST_CASE("the forms of the JSON file") {
  const auto from = [](const std::string& json, const std::string& name = "net.onnx.json") {
    return choose({}, model_with_json(json, name));
  };
  CHECK(from(R"({"preprocess": "104/117/123,1,BGR,255"})") == parse_preprocess("104/117/123,1,BGR,255"));
  CHECK(
      from(R"({"preprocess": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "range": 1}})") ==
      parse_preprocess("0.485/0.456/0.406,0.229/0.224/0.225,RGB,1"));
  CHECK(from(R"({"preprocess": {"mean": 117, "order": "BGR"}})") == parse_preprocess("117,1,BGR,255"));
  CHECK(from(R"({"preprocess": {"mean": 1e-5, "std": 1e3}})") == parse_preprocess("0.00001,1000,RGB,255"));
  CHECK(from(R"({"preprocess": "lucid"})", "net.json") == lucid_preprocess());
  CHECK(!from(R"({"unrelated": 1})"));
  CHECK(!from("[1, 2]"));
}

TEST_CASE("what is said but cannot be read is refused, with its place") {
  const auto error = [](const std::string& json) {
    try {
      choose({}, model_with_json(json));
    } catch (const InputError& failure) {
      CHECK(contains(failure.what(), "net.onnx.json"));
      CHECK(!contains(failure.what(), "\n"));
      return std::string(failure.what());
    }
    return std::string();
  };
  CHECK(contains(error(R"({"preprocess": )"), "not valid JSON at byte"));
  CHECK(contains(error(R"({"preprocess": 7})"), "neither a text nor an object"));
  CHECK(contains(error(R"({"preprocess": {"std": 1}})"), "no key 'mean'"));
  CHECK(contains(error(R"({"preprocess": {"mean": 1, "stdev": 1}})"), "unknown key 'stdev'"));
  CHECK(contains(error(R"({"preprocess": {"mean": "x"}})"), "is not a number"));
  CHECK(contains(error(R"({"preprocess": {"mean": [1, 2]}})"), "neither one number nor three"));
  CHECK(contains(error(R"({"preprocess": {"mean": 1, "std": 0}})"), "must be positive"));
  CHECK(contains(error(R"({"preprocess": {"mean": 1, "order": "RBG"}})"), "neither RGB nor BGR"));
  CHECK(contains(error(R"({"preprocess": {"mean": 1, "order": 3}})"), "not RGB or BGR"));
  CHECK(contains(error(R"({"preprocess": "photo"})"), "photo"));
  CHECK_THROWS_WITH_AS(choose({}, "/nowhere/net.onnx", {{"preprocess", "photo"}}),
                       doctest::Contains("ONNX property 'preprocess'"), InputError);
  CHECK_THROWS_AS(choose({}, "/nowhere/net.onnx", {}, "photo"), InputError);
}

TEST_CASE("a loaded model brings its own properties") {
  OnnxBuilder builder;
  builder.input("x", {1, 3, 8, 8}).output("y");
  builder.node("Relu", {"x"}, {"y"});
  CHECK(!builder.load().preprocess);
  auto* property = builder.model().add_metadata_props();
  property->set_key("preprocess");
  property->set_value("117,1,RGB,255");
  CHECK(builder.load().preprocess == parse_preprocess("117,1,RGB,255"));
  LoadOptions options;
  options.preprocess = "caffe";
  CHECK(builder.load(options).preprocess == caffe_preprocess());
}
