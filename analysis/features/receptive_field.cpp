#include "analysis/features/receptive_field.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "engine/error.h"

namespace branchsae {
namespace {

/// Of one value: pixels that an element sees, and pixels from one element to the next.
struct Field {
  std::array<int64_t, 2> size{1, 1}, step{1, 1};
};

const Window* window_of(const Node& node) {
  if (const auto* conv = std::get_if<ConvOp>(&node.op)) return &conv->window;
  if (const auto* pool = std::get_if<MaxPoolOp>(&node.op)) return &pool->window;
  if (const auto* pool = std::get_if<AveragePoolOp>(&node.op)) return &pool->window;
  return nullptr;
}

bool sees_everything(const Node& node) {
  return std::holds_alternative<GlobalAveragePoolOp>(node.op) || std::holds_alternative<LinearOp>(node.op) ||
         std::holds_alternative<FlattenOp>(node.op);
}

Field through(const Node& node, Field field) {
  const Window* window = window_of(node);
  for (size_t axis = 0; axis < 2 && window != nullptr; ++axis) {
    field.size[axis] += field.step[axis] * window->dilation[axis] * (window->kernel[axis] - 1);
    field.step[axis] *= window->stride[axis];
  }
  return field;
}

Field widest(const Field& a, const Field& b) {
  Field field = a;
  for (size_t axis = 0; axis < 2; ++axis) {
    field.size[axis] = std::max(a.size[axis], b.size[axis]);
    field.step[axis] = std::max(a.step[axis], b.step[axis]);
  }
  return field;
}

/// Each output channel of these comes from the same one of the input.
bool keeps_channels(const Node& node) {
  return std::holds_alternative<ReluOp>(node.op) || std::holds_alternative<ClipOp>(node.op) ||
         std::holds_alternative<AffineOp>(node.op) || std::holds_alternative<PadOp>(node.op) ||
         std::holds_alternative<MaxPoolOp>(node.op) || std::holds_alternative<AveragePoolOp>(node.op);
}

class Fields {
 public:
  explicit Fields(const Graph& graph) : graph_(graph) {
    whole_[graph.input] = Field{};
    for (const Node& node : graph.nodes) {  // in topological order
      Field field;
      for (ValueId input : node.inputs) field = widest(field, whole_[input]);
      whole_[node.output] = through(node, field);
      bool everything = sees_everything(node);
      for (ValueId input : node.inputs) everything = everything || everything_[input];
      everything_[node.output] = everything;
    }
  }

  bool sees_whole_image(ValueId value) const { return everything_.contains(value) && everything_.at(value); }

  /// Of channels [begin, end) of a value: a branch of a concat may see less than the others.
  Field of(ValueId value, int64_t begin, int64_t end) const {
    const int producer = graph_.producer(value);
    if (producer < 0) return whole_.at(value);
    const Node& node = graph_.nodes[static_cast<size_t>(producer)];
    if (keeps_channels(node)) return through(node, of(node.inputs.front(), begin, end));
    if (!std::holds_alternative<ConcatOp>(node.op)) return whole_.at(value);
    Field field;
    int64_t first = 0;
    for (ValueId input : node.inputs) {
      const int64_t last = first + graph_.value(input).shape.at(1);
      if (first < end && begin < last)
        field = widest(field, of(input, std::max<int64_t>(begin - first, 0), std::min(end, last) - first));
      first = last;
    }
    return field;
  }

 private:
  const Graph& graph_;
  std::map<ValueId, Field> whole_;  ///< of all channels
  std::map<ValueId, bool> everything_;
};

}  // namespace

std::array<int64_t, 2> receptive_field(const Graph& graph, const Tap& tap) {
  const Fields fields(graph);
  Field field;
  for (const TapPart& part : tap.parts) {
    if (fields.sees_whole_image(part.value))
      throw InputError(fmt::format("'{}' sees the whole image: it has no receptive field", tap.name));
    field = widest(field, fields.of(part.value, part.begin, part.end));
  }
  return field.size;
}

}  // namespace branchsae
