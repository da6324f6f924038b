#include "engine/graph.h"

#include <algorithm>

namespace branchsae {
namespace {

struct OpName {
  const char* operator()(const ConvOp&) const { return "Conv"; }
  const char* operator()(const MaxPoolOp&) const { return "MaxPool"; }
  const char* operator()(const AveragePoolOp&) const { return "AveragePool"; }
  const char* operator()(const GlobalAveragePoolOp&) const { return "GlobalAveragePool"; }
  const char* operator()(const LrnOp&) const { return "LRN"; }
  const char* operator()(const ConcatOp&) const { return "Concat"; }
  const char* operator()(const LinearOp&) const { return "Linear"; }
  const char* operator()(const AffineOp&) const { return "Affine"; }
  const char* operator()(const ReluOp&) const { return "Relu"; }
  const char* operator()(const ClipOp&) const { return "Clip"; }
  const char* operator()(const SoftmaxOp&) const { return "Softmax"; }
  const char* operator()(const FlattenOp&) const { return "Flatten"; }
  const char* operator()(const PadOp&) const { return "Pad"; }
  const char* operator()(const BinaryOp& op) const {
    switch (op.kind) {
      case BinaryOp::Kind::kAdd:
        return "Add";
      case BinaryOp::Kind::kSub:
        return "Sub";
      case BinaryOp::Kind::kMul:
        return "Mul";
      case BinaryOp::Kind::kDiv:
        return "Div";
    }
    return "Binary";
  }
};

}  // namespace

const char* op_name(const Op& op) {
  return std::visit(OpName{}, op);
}

ValueId Graph::find_value(std::string_view name) const {
  const auto found = std::ranges::find(values, name, &Value::name);
  if (found != values.end()) return static_cast<ValueId>(found - values.begin());
  const auto alias = aliases.find(name);
  return alias == aliases.end() ? kNoValue : alias->second;
}

int Graph::producer(ValueId id) const {
  const auto found = std::ranges::find(nodes, id, &Node::output);
  return found == nodes.end() ? -1 : static_cast<int>(found - nodes.begin());
}

std::vector<int> Graph::consumers(ValueId id) const {
  std::vector<int> readers;
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (std::ranges::find(nodes[i].inputs, id) != nodes[i].inputs.end()) {
      readers.push_back(static_cast<int>(i));
    }
  }
  return readers;
}

}  // namespace branchsae
