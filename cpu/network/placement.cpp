#include "cpu/network/placement.h"

#include <fmt/format.h>

#include <algorithm>

#include "cpu/memory.h"
#include "cpu/network/onednn.h"
#include "engine/passes.h"

namespace branchsae::cpu {
namespace {

/// Images of so few channels stay plain NCHW until the first convolution, which reads them as they are; in
/// blocks of 16 it would multiply mostly zeros.
constexpr int64_t kPlainChannels = 4;

template <class... Ops>
bool is_one_of(const Op& op) {
  return (std::holds_alternative<Ops>(op) || ...);
}

}  // namespace

Placement::Placement(const Graph& graph, const NetworkOptions& options, int64_t images, MemoryPlan& plan)
    : graph_(graph), options_(options), images_(images), plan_(plan) {
  for (const Node& node : graph.nodes) {
    if (!std::holds_alternative<ConcatOp>(node.op)) continue;
    for (const ValueId input : node.inputs) concats_[input].push_back(&node);
  }
  shapes_ = infer_shapes(graph, images, options.height, options.width);
  choose_layouts();
  // Last first: a concat inside a concat needs the outer one's place.
  for (auto node = graph.nodes.rbegin(); node != graph.nodes.rend(); ++node) place(node->output);
  place(graph.input);
}

void Placement::choose_layouts() {
  const auto layout_of = [&](ValueId value, int64_t block) {
    return make_layout(shapes_.at(static_cast<size_t>(value)), block, graph_.value(value).name);
  };
  const Layout input = layout_of(graph_.input, 1);
  layouts_[graph_.input] =
      input.grid && input.c <= kPlainChannels ? input : layout_of(graph_.input, native_block());
  for (const Node& node : graph_.nodes) {
    layouts_[node.output] = layout_of(node.output, stays_plain(node) ? 1 : native_block());
  }
}

/// Arithmetic on a plain image gives a plain image.
bool Placement::stays_plain(const Node& node) const {
  if (!is_one_of<AffineOp, ReluOp, ClipOp, PadOp, BinaryOp>(node.op)) return false;
  return std::ranges::all_of(node.inputs, [&](ValueId input) { return layouts_.at(input).block == 1; });
}

/// The concat in whose output `value` can lie, when its channels are whole blocks there.
const Node* Placement::concat_that_takes(ValueId value) const {
  const auto concats = concats_.find(value);
  if (value == graph_.input || concats == concats_.end()) return nullptr;
  for (const Node* concat : concats->second) {
    const Node& node = *concat;
    if (std::ranges::count(node.inputs, value) != 1) continue;
    const int64_t block = layouts_.at(node.output).block;
    bool aligned = layouts_.at(value).block == block && layouts_.at(value).c % block == 0;
    for (const ValueId input : node.inputs) {
      if (input == value) break;
      aligned = aligned && layouts_.at(input).c % block == 0;
    }
    if (aligned) return concat;
  }
  return nullptr;
}

void Placement::place(ValueId value) {
  const Layout& layout = layouts_.at(value);
  if (const Node* concat = concat_that_takes(value)) {
    Slot slot = slots_.at(concat->output);
    for (const ValueId input : concat->inputs) {
      if (input == value) break;
      slot.offset += layouts_.at(input).image_size();
    }
    slot.layout = layout;
    slots_[value] = slot;
    return;
  }
  slots_[value] = fresh(layout, layout.block);
}

Slot Placement::fresh(Layout layout, int64_t block) {
  layout.block = block;
  const int64_t size_bytes = element_count(Shape{layout.n, layout.image_size(), sizeof(float)});
  check_fits_in_memory(size_bytes, fmt::format("activations {}", to_string(layout.shape())));
  return {
      .layout = layout, .buffer = plan_.add(size_bytes), .offset = 0, .image_stride = layout.image_size()};
}

bool Placement::written_in_place(const Node& concat, size_t input) const {
  const Slot &part = slots_.at(concat.inputs.at(input)), &whole = slots_.at(concat.output);
  if (part.buffer != whole.buffer) return false;
  int64_t offset = whole.offset;
  for (size_t i = 0; i < input; ++i) offset += layouts_.at(concat.inputs[i]).image_size();
  return part.offset == offset;
}

}  // namespace branchsae::cpu
