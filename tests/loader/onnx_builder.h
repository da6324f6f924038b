#pragma once
/// Small ONNX models, written in tests.
#include <onnx/onnx_pb.h>

#include <filesystem>
#include <string>
#include <vector>

#include "engine/graph.h"
#include "loader/onnx_loader.h"

namespace branchsae::test {

/// A NodeProto whose attributes are set one by one.
class OnnxNode {
 public:
  explicit OnnxNode(::onnx::NodeProto* proto) : proto_(proto) {}
  OnnxNode& integer(const std::string& name, int64_t value);
  OnnxNode& real(const std::string& name, float value);
  OnnxNode& text(const std::string& name, const std::string& value);
  OnnxNode& integers(const std::string& name, const std::vector<int64_t>& values);
  OnnxNode& reals(const std::string& name, const std::vector<float>& values);
  /// An empty tensor to be filled in by the caller.
  ::onnx::TensorProto& tensor(const std::string& name);
  ::onnx::NodeProto& proto() { return *proto_; }

 private:
  ::onnx::AttributeProto* add(const std::string& name, ::onnx::AttributeProto::AttributeType type);
  ::onnx::NodeProto* proto_;
};

/// Starts with the operator set; then input, constants, nodes and outputs in any order.
class OnnxBuilder {
 public:
  explicit OnnxBuilder(int64_t opset = 13);

  /// kDynamic dimensions become symbols.
  OnnxBuilder& input(const std::string& name, const Shape& shape);
  OnnxBuilder& output(const std::string& name);
  /// Initialisers in float_data and int64_data.
  OnnxBuilder& floats(const std::string& name, const Shape& shape, const std::vector<float>& values);
  OnnxBuilder& integers(const std::string& name, const Shape& shape, const std::vector<int64_t>& values);
  /// Floats that count up: 0.5, -0.25, 0.125 ... scaled by place, so that no two weights are equal.
  OnnxBuilder& weights(const std::string& name, const Shape& shape);
  OnnxNode node(const std::string& op, const std::vector<std::string>& inputs,
                const std::vector<std::string>& outputs, const std::string& name = "");

  ::onnx::ModelProto& model() { return model_; }
  ::onnx::GraphProto& graph() { return *model_.mutable_graph(); }
  std::string bytes() const { return model_.SerializeAsString(); }
  /// Writes to a fresh folder.
  std::filesystem::path save(const std::string& file_name = "model.onnx") const;
  /// save() and load_onnx().
  Graph load(const LoadOptions& options = {}) const;
  /// The error's text; fails the test when the model loads.
  std::string load_error(const LoadOptions& options = {}) const;

 private:
  ::onnx::ModelProto model_;
};

std::filesystem::path write_bytes(const std::string& bytes, const std::string& file_name = "model.onnx");
/// The text of the InputError that load_onnx throws, checked to be one line that names the file; fails the
/// test when nothing or something else is thrown.
std::string load_error_of(const std::filesystem::path& path, const LoadOptions& options = {});
/// Ops in order, as op_name() writes them, joined by spaces.
std::string ops_of(const Graph& graph);

}  // namespace branchsae::test
