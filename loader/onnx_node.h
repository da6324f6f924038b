#pragma once
/// One ONNX node with its attributes typed and its errors located.
#include <onnx/onnx_pb.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace branchsae::loader {

/// A name from a file made fit for a one-line message: control characters escaped, long names cut.
std::string printable(std::string_view name);

/// A view of a NodeProto; both it and `file` must outlive this.
class NodeView {
 public:
  NodeView(const ::onnx::NodeProto& proto, const std::string& file, int64_t opset)
      : proto_(&proto), file_(&file), opset_(opset) {}

  /// The node's own name, else its first output's.
  std::string name() const;
  const std::string& op() const { return proto_->op_type(); }
  int64_t opset() const { return opset_; }
  const std::string& file() const { return *file_; }

  int input_count() const { return proto_->input_size(); }
  /// Optional inputs may be left out at the end or be empty.
  bool has_input(int index) const { return index < proto_->input_size() && !proto_->input(index).empty(); }
  /// Throws InputError when the input is missing.
  const std::string& input(int index) const;
  int output_count() const { return proto_->output_size(); }
  const std::string& output(int index = 0) const { return proto_->output(index); }

  /// Attributes; a default is returned when absent. All throw InputError when the attribute has another type.
  bool has(std::string_view attribute) const { return find(attribute) != nullptr; }
  int64_t integer(std::string_view attribute, int64_t fallback) const;
  float real(std::string_view attribute, float fallback) const;
  std::string text(std::string_view attribute, std::string_view fallback) const;
  std::vector<int64_t> integers(std::string_view attribute, std::vector<int64_t> fallback = {}) const;
  std::vector<float> reals(std::string_view attribute) const;
  /// nullptr when absent.
  const ::onnx::TensorProto* tensor(std::string_view attribute) const;
  /// Throws InputError when absent.
  const ::onnx::GraphProto& graph(std::string_view attribute) const;

  /// "<file>: node '<name>' (<op>): <message>"
  std::string where() const;
  [[noreturn]] void fail(const std::string& message) const;

 private:
  const ::onnx::AttributeProto* find(std::string_view attribute) const;
  const ::onnx::AttributeProto* find(std::string_view attribute, int type, const char* type_name) const;

  const ::onnx::NodeProto* proto_;
  const std::string* file_;
  int64_t opset_;
};

}  // namespace branchsae::loader
