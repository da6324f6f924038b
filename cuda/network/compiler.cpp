#include "cuda/network/compiler.h"

#include <fmt/format.h>

#include <algorithm>

#include "cuda/network/convolution_layer.h"
#include "cuda/network/elementwise.h"
#include "cuda/network/linear.h"
#include "cuda/network/lrn.h"
#include "cuda/network/pool.h"
#include "engine/error.h"
#include "engine/passes.h"

namespace branchsae::cuda {
namespace {

constexpr int64_t kTapAlignment = 256;

class Compiler {
 public:
  Compiler(ConvolutionLibrary& library, const Graph& graph, const NetworkOptions& options, Lowering lowering)
      : library_(library),
        options_(options),
        type_(compute_type(options.precision)),
        graph_(graph),
        placement_(graph, options, type_.element, lowering, result_.plan) {
    result_.lowering = lowering;
  }

  CompiledNetwork compile() {
    result_.input = placement_.slot(graph_.input);
    result_.input_shape = result_.input.layout.shape();
    result_.plan.keep(result_.input.buffer);  // profile() runs again on what is there
    for (const Node& node : graph_.nodes) compile_node(node);
    place_taps();
    result_.plan.place();
    for (const LayerPtr& layer : result_.layers) {
      result_.scratch_bytes = std::max(result_.scratch_bytes, layer->scratch_bytes());
    }
    return std::move(result_);
  }

 private:
  void compile_node(const Node& node) {
    try {
      LayerPtr layer = std::visit([&](const auto& op) { return make(node, op); }, node.op);
      if (layer == nullptr) return;  // nothing to do at run time
      layer->info.op = op_name(node.op);
      if (layer->info.node.empty()) layer->info.node = node.name;
      layer->info.shapes = describe(node);
      for (const ValueId input : node.inputs) use(placement_.slot(input));
      use(placement_.slot(node.output));
      result_.layers.push_back(std::move(layer));
    } catch (const DeviceError& error) {
      throw DeviceError(fmt::format("layer '{}' ({}): {}", node.name, describe(node), error.what()),
                        error.detail());
    }
  }

  /// "Conv [8, 64, 56, 56] -> [8, 192, 56, 56]"
  std::string describe(const Node& node) const {
    std::string inputs;
    for (const ValueId input : node.inputs) {
      inputs += (inputs.empty() ? "" : " x ") + to_string(placement_.slot(input).layout.shape());
    }
    return fmt::format("{} {} -> {}", op_name(node.op), inputs,
                       to_string(placement_.slot(node.output).layout.shape()));
  }

  void use(const Slot& slot) { result_.plan.use(slot.buffer, static_cast<int64_t>(result_.layers.size())); }

  Slot in(const Node& node, size_t index = 0) const { return placement_.slot(node.inputs.at(index)); }
  Slot out(const Node& node) const { return placement_.slot(node.output); }

  LayerPtr make(const Node& node, const ConvOp& op) {
    const ConvSiblings* siblings = placement_.siblings(node);
    if (siblings == nullptr) {
      return make_convolution(library_, {{&op, 0}}, in(node), out(node), type_.tf32, result_.weights);
    }
    const bool made = std::ranges::find(merged_, siblings) != merged_.end();
    if (made) return nullptr;
    merged_.push_back(siblings);
    return make_siblings(*siblings);
  }

  /// All of a group where the first of them stands.
  LayerPtr make_siblings(const ConvSiblings& siblings) {
    std::vector<ConvPart> parts;
    std::string names;
    for (const Node* node : siblings.nodes) {
      const Slot slot = out(*node);
      parts.push_back({&std::get<ConvOp>(node->op), slot.offset - siblings.dst.offset});
      names += (names.empty() ? "" : " + ") + node->name;
      use(slot);
    }
    LayerPtr layer = make_convolution(library_, parts, in(*siblings.nodes.front()), siblings.dst, type_.tf32,
                                      result_.weights);
    layer->info.node = names;
    return layer;
  }

  LayerPtr make(const Node& node, const LinearOp& op) {
    return make_linear(op, in(node), out(node), result_.weights);
  }
  LayerPtr make(const Node& node, const MaxPoolOp& op) { return make_max_pool(op, in(node), out(node)); }
  LayerPtr make(const Node& node, const AveragePoolOp& op) {
    return make_average_pool(op, in(node), out(node));
  }
  LayerPtr make(const Node& node, const GlobalAveragePoolOp&) {
    return make_global_average_pool(in(node), out(node));
  }
  LayerPtr make(const Node& node, const LrnOp& op) { return make_lrn(op, in(node), out(node)); }
  LayerPtr make(const Node& node, const SoftmaxOp&) { return make_softmax(in(node), out(node)); }
  LayerPtr make(const Node& node, const FlattenOp&) { return make_flatten(in(node), out(node)); }
  LayerPtr make(const Node& node, const AffineOp& op) {
    return make_affine(op, in(node), out(node), result_.weights);
  }
  LayerPtr make(const Node& node, const ReluOp&) { return make_relu(in(node), out(node)); }
  LayerPtr make(const Node& node, const ClipOp& op) { return make_clip(op, in(node), out(node)); }
  LayerPtr make(const Node& node, const PadOp& op) { return make_pad(op, in(node), out(node)); }
  LayerPtr make(const Node& node, const BinaryOp& op) {
    return make_binary(op, in(node, 0), in(node, 1), out(node));
  }
  LayerPtr make(const Node& node, const ConcatOp&) {
    std::vector<ConcatInput> inputs;
    bool copies = false;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      inputs.push_back({in(node, i), placement_.written_in_place(node, i)});
      copies = copies || !inputs.back().in_place;
    }
    return copies ? make_concat(std::move(inputs), out(node)) : nullptr;
  }

  /// Float32 activations are rows already; everything else is gathered at the end, in one launch.
  void place_taps() {
    std::vector<TapCopy> copies;
    std::string names;
    for (const Tap& tap : options_.taps) {
      TapRows rows{
          .shape = tap_shape(graph_, placement_.shapes(), tap), .dst_offset = -1, .slot = {}, .begin = 0};
      for (const TapPart& part : tap.parts) {  // until the end, or as long as the caller reads
        result_.plan.use(placement_.slot(part.value).buffer, INT64_MAX - 1);
      }
      rows.slot = placement_.slot(tap.parts.front().value);
      rows.begin = tap.parts.front().begin;
      if (tap.parts.size() > 1 || rows.slot.layout.element != Element::kF32) {
        gather_tap(tap, rows, copies);
        names += (names.empty() ? "" : ", ") + tap.name;
      }
      result_.taps.push_back(rows);
    }
    if (copies.empty()) return;
    auto layer = std::make_unique<GatherTaps>(std::move(copies), result_.weights);
    layer->info = {.node = names, .op = "Capture", .shapes = "taps", .implementation = "own", .flops = 0};
    result_.gather = layer.get();
    result_.layers.push_back(std::move(layer));
  }

  void gather_tap(const Tap& tap, TapRows& rows, std::vector<TapCopy>& copies) {
    rows.dst_offset = result_.tap_bytes;
    int64_t column = 0;
    for (const TapPart& part : tap.parts) {
      copies.push_back({.src = placement_.slot(part.value),
                        .begin = part.begin,
                        .end = part.end,
                        .dst_offset = rows.dst_offset,
                        .width = rows.shape.d,
                        .column = column});
      column += part.end - part.begin;
    }
    const Shape extents{options_.max_batch, rows.shape.height, rows.shape.width, rows.shape.d,
                        static_cast<int64_t>(sizeof(float))};
    const int64_t bytes = (element_count(extents) + kTapAlignment - 1) / kTapAlignment * kTapAlignment;
    result_.tap_bytes = element_count(Shape{result_.tap_bytes + bytes});
  }

  ConvolutionLibrary& library_;
  const NetworkOptions& options_;
  ComputeType type_;
  const Graph& graph_;
  CompiledNetwork result_;
  Placement placement_;
  std::vector<const ConvSiblings*> merged_;
};

/// Asks the library about the largest convolution that would write into a concat.
Lowering choose_lowering(ConvolutionLibrary& library, const Graph& graph, const NetworkOptions& options) {
  const ComputeType type = compute_type(options.precision);
  MemoryPlan plan;
  const Placement placement(graph, options, type.element, Lowering::kInPlace, plan);
  int64_t most = 0;
  ConvProblem largest;
  for (const Node& node : graph.nodes) {
    const auto* op = std::get_if<ConvOp>(&node.op);
    if (op == nullptr || placement.siblings(node) != nullptr) continue;
    const Slot &src = placement.slot(node.inputs.at(0)), &dst = placement.slot(node.output);
    const int64_t products = op->weight->size() * dst.layout.pixels();
    if (dst.dense() || products <= most) continue;
    most = products;
    largest = conv_problem(*op, src, dst, type.tf32);
  }
  if (most == 0) return Lowering::kDense;
  std::string why_not;
  const std::shared_ptr<ConvPlan> found = library.plan(largest, why_not);
  const bool recommended = found != nullptr && found->standing() == Standing::kRecommended;
  return recommended ? Lowering::kInPlace : Lowering::kDense;
}

}  // namespace

CompiledNetwork compile(ConvolutionLibrary& library, const Graph& graph, const NetworkOptions& options,
                        Lowering lowering) {
  check_network_options(graph, options);
  const Graph optimised = optimise(graph, tapped_values(options.taps));
  if (lowering == Lowering::kAuto) lowering = choose_lowering(library, optimised, options);
  return Compiler(library, optimised, options, lowering).compile();
}

}  // namespace branchsae::cuda
