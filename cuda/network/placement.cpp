#include "cuda/network/placement.h"

#include <algorithm>

#include "engine/passes.h"

namespace branchsae::cuda {
namespace {

/// Whether it can share one multiplication with others of its kind on the same input.
bool can_merge(const Node& node) {
  const auto* op = std::get_if<ConvOp>(&node.op);
  if (op == nullptr) return false;
  const Window& window = op->window;
  const std::array<int64_t, 2> one{1, 1}, none{0, 0};
  return op->groups == 1 && window.kernel == one && window.stride == one && window.pad_begin == none &&
         window.pad_end == none && window.auto_pad == AutoPad::kNone;
}

bool has_relu(const Node& node) {
  return std::get<ConvOp>(node.op).relu;
}

}  // namespace

Placement::Placement(const Graph& graph, const NetworkOptions& options, Element element, Lowering lowering,
                     MemoryPlan& plan)
    : graph_(graph),
      lowering_(lowering),
      plan_(plan),
      shapes_(infer_shapes(graph, options.max_batch, options.height, options.width)) {
  const auto add_layout = [&](ValueId value) {
    layouts_[value] = make_layout(shapes_.at(static_cast<size_t>(value)), element, graph.value(value).name);
  };
  add_layout(graph.input);
  for (const Node& node : graph.nodes) {
    add_layout(node.output);
    producers_[node.output] = &node;
    if (!std::holds_alternative<ConcatOp>(node.op)) continue;
    for (const ValueId input : node.inputs) concats_[input].push_back(&node);
  }
  find_siblings();
  // Last first: a concat inside a concat needs the outer one's place.
  for (auto node = graph.nodes.rbegin(); node != graph.nodes.rend(); ++node) place(node->output);
  place(graph.input);
}

void Placement::find_siblings() {
  std::map<std::pair<ValueId, bool>, std::vector<const Node*>> readers;  // of an input, with ReLU or without
  for (const Node& node : graph_.nodes) {
    if (can_merge(node)) readers[{node.inputs.at(0), has_relu(node)}].push_back(&node);
  }
  for (const auto& [key, nodes] : readers) group_readers(nodes);
}

/// Those that no concat takes in place, then at most one that leads a concat.
void Placement::group_readers(const std::vector<const Node*>& readers) {
  ConvSiblings group;
  const Node* leader = nullptr;
  for (const Node* node : readers) {
    if (concat_that_takes(node->output) == nullptr) {
      group.nodes.push_back(node);
    } else if (leader == nullptr && concat_led_by(node->output) != nullptr) {
      leader = node;
    }
  }
  if (leader != nullptr) group.nodes.push_back(leader);
  if (group.nodes.size() < 2 || !merging_pays(group)) return;
  if (leader != nullptr) group_before_concat_[concat_led_by(leader->output)->output] = groups_.size();
  for (const Node* node : group.nodes) group_of_output_[node->output] = groups_.size();
  groups_.push_back(std::move(group));
}

/// Counts channels of a pixel that are read and written. Outputs for a concat are copied there anyway.
bool Placement::merging_pays(const ConvSiblings& group) const {
  if (lowering_ == Lowering::kInPlace) return true;
  int64_t copied = 0;
  for (const Node* node : group.nodes) {
    if (!concats_.contains(node->output)) copied += 2 * layouts_.at(node->output).padded_channels();
  }
  const int64_t input = layouts_.at(group.nodes.front()->inputs.at(0)).padded_channels();
  return copied < (static_cast<int64_t>(group.nodes.size()) - 1) * input;
}

/// The concat in whose output `value` can lie, when its channels are whole groups there.
const Node* Placement::concat_that_takes(ValueId value) const {
  const auto producer = producers_.find(value);
  const auto concats = concats_.find(value);
  if (producer == producers_.end() || concats == concats_.end()) return nullptr;
  if (lowering_ == Lowering::kDense && std::holds_alternative<ConvOp>(producer->second->op)) return nullptr;
  const Layout& layout = layouts_.at(value);
  for (const Node* concat : concats->second) {
    if (std::ranges::count(concat->inputs, value) != 1) continue;
    bool aligned = layout.c % layout.group() == 0 || concat->inputs.back() == value;
    for (const ValueId input : concat->inputs) {
      if (input == value) break;
      aligned = aligned && layouts_.at(input).c % layout.group() == 0;
    }
    if (aligned) return concat;
  }
  return nullptr;
}

/// The concat that begins with `value`, has a buffer of its own and no group in front of it yet.
const Node* Placement::concat_led_by(ValueId value) const {
  const Node* concat = concat_that_takes(value);
  if (concat == nullptr || concat->inputs.front() != value) return nullptr;
  if (concat_that_takes(concat->output) != nullptr || group_before_concat_.contains(concat->output))
    return nullptr;
  return concat;
}

void Placement::place(ValueId value) {
  if (slots_.contains(value)) return;  // with its siblings
  const Layout& layout = layouts_.at(value);
  if (const auto before = group_before_concat_.find(value); before != group_before_concat_.end()) {
    ConvSiblings& group = groups_[before->second];
    int64_t channels = 0;
    for (const Node* node : group.nodes) {
      if (node != group.nodes.back()) channels += layouts_.at(node->output).padded_channels();
    }
    slots_[value] = fresh(layout, channels);
    group.dst = slots_[value];
    group.dst.offset = 0;
    place_group(group);
    return;
  }
  if (const Node* concat = concat_that_takes(value)) {
    Slot slot = slots_.at(concat->output);
    for (const ValueId input : concat->inputs) {
      if (input == value) break;
      slot.offset += layouts_.at(input).c;
    }
    slot.layout = layout;
    slots_[value] = slot;
    return;
  }
  if (const auto group = group_of_output_.find(value); group != group_of_output_.end()) {
    ConvSiblings& siblings = groups_[group->second];
    int64_t channels = 0;
    for (const Node* node : siblings.nodes) channels += layouts_.at(node->output).padded_channels();
    Layout all = layout;
    all.c = channels;
    siblings.dst = fresh(all);
    place_group(siblings);
    return;
  }
  slots_[value] = fresh(layout);
}

/// Side by side from the group's first channel on.
void Placement::place_group(ConvSiblings& group) {
  Slot slot = group.dst;
  for (const Node* node : group.nodes) {
    slot.layout = layouts_.at(node->output);
    slots_[node->output] = slot;
    slot.offset += slot.layout.padded_channels();
  }
  group.dst.layout = slot.layout;
  group.dst.layout.c = slot.offset - group.dst.offset;
}

Slot Placement::fresh(const Layout& layout, int64_t channels_before) {
  Slot slot{.layout = layout,
            .buffer = -1,
            .offset = channels_before,
            .pixel_stride = channels_before + layout.padded_channels()};
  element_count(Shape{layout.pixels(), slot.pixel_stride, element_bytes(layout.element)});
  slot.buffer = plan_.add(slot.buffer_bytes());
  return slot;
}

bool Placement::written_in_place(const Node& concat, size_t input) const {
  const Slot &part = slots_.at(concat.inputs.at(input)), &whole = slots_.at(concat.output);
  if (part.buffer != whole.buffer) return false;
  int64_t offset = whole.offset;
  for (size_t i = 0; i < input; ++i) offset += layouts_.at(concat.inputs[i]).c;
  return part.offset == offset;
}

const ConvSiblings* Placement::siblings(const Node& convolution) const {
  const auto found = group_of_output_.find(convolution.output);
  return found == group_of_output_.end() ? nullptr : &groups_[found->second];
}

}  // namespace branchsae::cuda
