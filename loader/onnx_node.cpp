#include "loader/onnx_node.h"

#include <fmt/format.h>

#include "engine/error.h"

namespace branchsae::loader {

std::string printable(std::string_view name) {
  constexpr size_t kLongest = 160;
  std::string text;
  for (const char c : name.substr(0, kLongest)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7f) {
      text += fmt::format("\\x{:02x}", byte);
    } else {
      text += c;
    }
  }
  if (name.size() > kLongest) text += "...";
  return text;
}

std::string NodeView::name() const {
  if (!proto_->name().empty()) return proto_->name();
  return proto_->output_size() > 0 ? proto_->output(0) : std::string();
}

std::string NodeView::where() const {
  return fmt::format("{}: node '{}' ({})", *file_, printable(name()), printable(op()));
}

void NodeView::fail(const std::string& message) const {
  throw InputError(where() + ": " + message);
}

const std::string& NodeView::input(int index) const {
  if (!has_input(index)) fail(fmt::format("input {} is missing", index));
  return proto_->input(index);
}

const ::onnx::AttributeProto* NodeView::find(std::string_view attribute) const {
  for (const ::onnx::AttributeProto& candidate : proto_->attribute()) {
    if (candidate.name() == attribute) return &candidate;
  }
  return nullptr;
}

const ::onnx::AttributeProto* NodeView::find(std::string_view attribute, int type,
                                             const char* type_name) const {
  const ::onnx::AttributeProto* found = find(attribute);
  // The type field came with IR version 2; files without it are read by content.
  if (found != nullptr && found->type() != type && found->type() != ::onnx::AttributeProto::UNDEFINED) {
    fail(fmt::format("attribute '{}' is not of type {}", attribute, type_name));
  }
  return found;
}

int64_t NodeView::integer(std::string_view attribute, int64_t fallback) const {
  const auto* found = find(attribute, ::onnx::AttributeProto::INT, "int");
  return found == nullptr ? fallback : found->i();
}

float NodeView::real(std::string_view attribute, float fallback) const {
  const auto* found = find(attribute, ::onnx::AttributeProto::FLOAT, "float");
  return found == nullptr ? fallback : found->f();
}

std::string NodeView::text(std::string_view attribute, std::string_view fallback) const {
  const auto* found = find(attribute, ::onnx::AttributeProto::STRING, "string");
  return found == nullptr ? std::string(fallback) : found->s();
}

std::vector<int64_t> NodeView::integers(std::string_view attribute, std::vector<int64_t> fallback) const {
  const auto* found = find(attribute, ::onnx::AttributeProto::INTS, "ints");
  if (found == nullptr) return fallback;
  return {found->ints().begin(), found->ints().end()};
}

std::vector<float> NodeView::reals(std::string_view attribute) const {
  const auto* found = find(attribute, ::onnx::AttributeProto::FLOATS, "floats");
  if (found == nullptr) return {};
  return {found->floats().begin(), found->floats().end()};
}

const ::onnx::TensorProto* NodeView::tensor(std::string_view attribute) const {
  const auto* found = find(attribute, ::onnx::AttributeProto::TENSOR, "tensor");
  return found == nullptr ? nullptr : &found->t();
}

const ::onnx::GraphProto& NodeView::graph(std::string_view attribute) const {
  const auto* found = find(attribute, ::onnx::AttributeProto::GRAPH, "graph");
  if (found == nullptr) fail(fmt::format("attribute '{}' is missing", attribute));
  return found->g();
}

}  // namespace branchsae::loader
