// Files that are no model, or not a whole one.
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <fstream>

#include "engine/error.h"
#include "engine/files.h"
#include "engine/log.h"
#include "tests/loader/onnx_builder.h"
#include "tests/test_data.h"

namespace fs = std::filesystem;
using namespace branchsae;
using namespace branchsae::test;

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

OnnxBuilder relu_model(int64_t opset = 13) {
  OnnxBuilder builder(opset);
  builder.input("data", {kDynamic, 3, 8, 8}).output("y");
  builder.node("Relu", {"data"}, {"y"}, "relu");
  return builder;
}

}  // namespace

TEST_CASE("a small model loads, with source, sha256, names and shapes") {
  const OnnxBuilder builder = relu_model();
  const fs::path path = builder.save();
  const Graph graph = load_onnx(path);
  CHECK(graph.source == path.string());
  CHECK(graph.sha256 == sha256_of(builder.bytes()));
  REQUIRE(graph.nodes.size() == 1);
  CHECK(graph.nodes[0].name == "relu");
  CHECK(graph.value(graph.input).name == "data");
  CHECK(graph.value(graph.input).shape == Shape{kDynamic, 3, 8, 8});
  REQUIRE(graph.outputs.size() == 1);
  CHECK(graph.value(graph.outputs[0]).name == "y");
  CHECK(graph.blocks.empty());
}

TEST_CASE("what is no file is refused") {
  CHECK(contains(load_error_of(temporary_folder() / "absent.onnx"), "no such file"));
  const fs::path folder = temporary_folder() / "folder.onnx";
  fs::create_directory(folder);
  CHECK(contains(load_error_of(folder), "is a folder"));
  const fs::path pipe = temporary_folder() / "pipe.onnx";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(contains(load_error_of(pipe), "not a regular file"));
}

TEST_CASE("files of other kinds are refused, and recognised where possible") {
  CHECK(contains(load_error_of(write_bytes("")), "is empty"));
  CHECK(contains(load_error_of(write_bytes("hello, world\n")), "not an ONNX model"));
  CHECK(contains(load_error_of(write_bytes("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")),
                 "git lfs pull"));
  CHECK(contains(load_error_of(write_bytes("<!DOCTYPE html><html></html>")), "web page"));
  CHECK(contains(load_error_of(write_bytes(std::string("PK\x03\x04rest"))), "zip archive"));
  CHECK(contains(load_error_of(write_bytes(std::string("\x1f\x8b\x08"))), "gzip"));
  CHECK(contains(load_error_of(write_bytes(std::string(4096, '\0'))), "not an ONNX model"));
}

TEST_CASE("a protobuf message of another kind is refused") {
  ::onnx::TensorProto tensor;  // field 1 is a repeated integer here, the IR version in a model
  tensor.add_dims(3);
  tensor.set_name("a tensor, not a model");
  CHECK(contains(load_error_of(write_bytes(tensor.SerializeAsString())), "not an ONNX model"));

  OnnxBuilder no_graph;
  no_graph.model().clear_graph();
  CHECK(contains(no_graph.load_error(), "no graph"));
  CHECK(contains(OnnxBuilder().load_error(), "no node"));
}

TEST_CASE("a file cut off anywhere is refused") {
  OnnxBuilder builder;
  builder.input("x", {1, 2, 4, 4}).output("y").weights("w", {3, 2, 3, 3}).weights("b", {3});
  builder.node("Conv", {"x", "w", "b"}, {"c"}).integers("pads", {1, 1, 1, 1});
  builder.node("Relu", {"c"}, {"y"});
  const std::string bytes = builder.bytes();
  const fs::path path = temporary_folder() / "cut.onnx";
  for (size_t length = 0; length < bytes.size(); ++length) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes.substr(0, length);
    CAPTURE(length);
    // The operator set may come before or after the graph; a model without it is refused, too.
    CHECK_THROWS_AS(load_onnx(path), InputError);
  }
}

TEST_CASE("operator sets: none and too old are refused, too new is read with a warning") {
  OnnxBuilder none = relu_model();
  none.model().clear_opset_import();
  CHECK(contains(none.load_error(), "names no operator set"));
  CHECK(contains(relu_model(5).load_error(), "operator set 5"));
  CHECK(relu_model(6).load().nodes.size() == 1);

  std::string warning;
  set_log_sink([&](LogLevel level, const std::string& message) {
    if (level == LogLevel::kWarning) warning = message;
  });
  CHECK(relu_model(99).load().nodes.size() == 1);
  set_log_sink({});
  CHECK(contains(warning, "operator set 99"));
}

TEST_CASE("the size cap") {
  const OnnxBuilder builder = relu_model();
  LoadOptions options;
  options.max_file_bytes = static_cast<int64_t>(builder.bytes().size());
  CHECK(builder.load(options).nodes.size() == 1);
  --options.max_file_bytes;
  CHECK(contains(builder.load_error(options), "bytes, more than"));
}
