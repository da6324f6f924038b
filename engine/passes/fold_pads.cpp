#include <cfloat>

#include "engine/passes.h"
#include "engine/passes/rewriter.h"

namespace branchsae {
namespace {

using engine::Rewriter;

/// Which values can be proved to hold no negative number, whatever the input. One sweep: writers come first.
std::vector<bool> find_non_negative(Rewriter& rewriter, size_t value_count) {
  std::vector<bool> proved(value_count, false);
  for (size_t i = 0; i < rewriter.size(); ++i) {
    const Node& node = rewriter.node(i);
    const auto inputs_proved = [&] {
      for (const ValueId id : node.inputs) {
        if (!proved[static_cast<size_t>(id)]) return false;
      }
      return true;
    };
    struct Prove {
      const decltype(inputs_proved)& inputs;
      bool operator()(const ReluOp&) const { return true; }
      bool operator()(const SoftmaxOp&) const { return true; }
      bool operator()(const ConvOp& op) const { return op.relu; }
      bool operator()(const LinearOp& op) const { return op.relu; }
      bool operator()(const ClipOp& op) const { return op.min >= 0 || (op.max >= 0 && inputs()); }
      bool operator()(const LrnOp& op) const { return op.bias > 0 && op.alpha >= 0 && inputs(); }
      bool operator()(const PadOp& op) const { return op.value >= 0 && inputs(); }
      bool operator()(const MaxPoolOp&) const { return inputs(); }
      bool operator()(const AveragePoolOp&) const { return inputs(); }
      bool operator()(const GlobalAveragePoolOp&) const { return inputs(); }
      bool operator()(const ConcatOp&) const { return inputs(); }
      bool operator()(const FlattenOp&) const { return inputs(); }
      bool operator()(const AffineOp& op) const {
        for (const ConstTensor& factor : {op.scale, op.shift}) {
          for (const float number : factor->values()) {
            if (!(number >= 0)) return false;
          }
        }
        return inputs();
      }
      bool operator()(const BinaryOp& op) const { return op.kind != BinaryOp::Kind::kSub && inputs(); }
    };
    proved[static_cast<size_t>(node.output)] = std::visit(Prove{inputs_proved}, node.op);
  }
  return proved;
}

/// The window with the padding added to its own. Only explicit padding adds up, and cropping is not padding.
std::optional<Window> widen(Window window, const PadOp& pad) {
  if (window.auto_pad != AutoPad::kNone) return std::nullopt;
  for (size_t axis = 0; axis < 2; ++axis) {
    if (pad.begin[axis] < 0 || pad.end[axis] < 0) return std::nullopt;
    window.pad_begin[axis] += pad.begin[axis];
    window.pad_end[axis] += pad.end[axis];
  }
  return window;
}

/// For every input size: the widened pooling window has as many positions as the pool had on the padded
/// tensor, and each position sees a real element.
bool pools_alike(const Window& widened, const PadOp& pad, bool ceil_mode) {
  for (size_t axis = 0; axis < 2; ++axis) {
    if (pad.begin[axis] == 0 && pad.end[axis] == 0) continue;
    // A dilated window can step over a short input.
    if (widened.dilation[axis] != 1) return false;
    if (widened.pad_begin[axis] >= widened.kernel[axis]) return false;
    // The farthest start is pad_end - kernel (+ stride - 1 when rounding up) past the input's last element.
    // With ceil_mode a start in the end padding is dropped, but one in the padded tensor's own end is not.
    const int64_t overshoot = ceil_mode ? widened.stride[axis] - 1 : 0;
    if (widened.pad_end[axis] + overshoot >= widened.kernel[axis]) return false;
  }
  return true;
}

bool is_lowest(float value) {
  return value <= -FLT_MAX;
}

bool fold_into_conv(ConvOp& conv, const PadOp& pad) {
  const auto window = widen(conv.window, pad);
  if (!window || pad.value != 0.0F) return false;
  conv.window = *window;
  return true;
}

bool fold_into_max_pool(MaxPoolOp& pool, const PadOp& pad, bool input_non_negative) {
  const auto window = widen(pool.window, pad);
  const bool never_wins = is_lowest(pad.value) || (pad.value == 0.0F && input_non_negative);
  if (!window || !never_wins || !pools_alike(*window, pad, pool.ceil_mode)) return false;
  pool.window = *window;
  return true;
}

bool fold_into_average_pool(AveragePoolOp& pool, const PadOp& pad) {
  const auto window = widen(pool.window, pad);
  const std::array<int64_t, 2> none{0, 0};
  const bool counts_alike =
      pool.count_include_pad || (pool.window.pad_begin == none && pool.window.pad_end == none);
  if (!window || pad.value != 0.0F || !counts_alike || !pools_alike(*window, pad, pool.ceil_mode))
    return false;
  pool.window = *window;
  pool.count_include_pad = true;
  return true;
}

bool fold_into(Op& op, const PadOp& pad, bool input_non_negative) {
  if (auto* conv = std::get_if<ConvOp>(&op)) return fold_into_conv(*conv, pad);
  if (auto* pool = std::get_if<MaxPoolOp>(&op)) return fold_into_max_pool(*pool, pad, input_non_negative);
  if (auto* pool = std::get_if<AveragePoolOp>(&op)) return fold_into_average_pool(*pool, pad);
  return false;
}

}  // namespace

Graph fold_pads(Graph graph, const std::vector<ValueId>& keep) {
  const size_t value_count = graph.values.size();
  Rewriter rewriter(std::move(graph), keep);
  const std::vector<bool> non_negative = find_non_negative(rewriter, value_count);
  for (size_t i = 0; i < rewriter.size(); ++i) {
    if (!std::holds_alternative<PadOp>(rewriter.node(i).op)) continue;
    const PadOp pad = std::get<PadOp>(rewriter.node(i).op);
    const bool safe = non_negative[static_cast<size_t>(rewriter.node(i).inputs.front())];
    for (const int reader : rewriter.readers(rewriter.node(i).output)) {
      const auto r = static_cast<size_t>(reader);
      if (fold_into(rewriter.node(r).op, pad, safe)) rewriter.bypass(r, i);
    }
  }
  return rewriter.take();
}

}  // namespace branchsae
