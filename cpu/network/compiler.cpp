#include "cpu/network/compiler.h"

#include <fmt/format.h>

#include <algorithm>

#include "cpu/memory.h"
#include "cpu/network/convolution.h"
#include "cpu/network/copies.h"
#include "cpu/network/elementwise.h"
#include "cpu/network/im2row.h"
#include "cpu/network/linear.h"
#include "cpu/network/lrn.h"
#include "cpu/network/placement.h"
#include "cpu/network/pool.h"
#include "cpu/network/winograd.h"
#include "engine/error.h"
#include "engine/log.h"
#include "engine/network_checks.h"
#include "engine/passes.h"

namespace branchsae::cpu {
namespace {

/// Throws InputError also for a precision that is not the CPU's.
void check_options(const Graph& graph, const NetworkOptions& options) {
  check_network_options(graph, options);
  if (options.precision == NetworkPrecision::kAuto || options.precision == NetworkPrecision::kF32) return;
  throw InputError(fmt::format("the network's precision {} is for CUDA devices; the CPU computes in f32",
                               to_string(options.precision)));
}

class Compiler {
 public:
  Compiler(OnednnContext& context, const Graph& graph, const NetworkOptions& options,
           const Division& division)
      : context_(context),
        options_(options),
        threads_(division.threads),
        graph_(optimise(graph, tapped_values(options.taps))),
        placement_(graph_, options, division.images, result_.plan) {}

  CompiledNetwork compile() {
    result_.input = placement_.slot(graph_.input);
    result_.plan.keep(result_.input.buffer);  // profile() runs again on what is there
    make_tap_buffers();
    capture(graph_.input);
    for (const Node& node : graph_.nodes) {
      compile_node(node);
      capture(node.output);
    }
    result_.plan.place();
    return std::move(result_);
  }

 private:
  void compile_node(const Node& node) {
    try {
      LayerPtr layer = std::visit([&](const auto& op) { return make(node, op); }, node.op);
      if (layer == nullptr) return;  // nothing to do at run time
      layer->info.op = op_name(node.op);
      std::vector<ValueId> uses = node.inputs;
      uses.push_back(node.output);
      append(std::move(layer), node, uses);
    } catch (const dnnl::error& error) {
      throw DeviceError(fmt::format("layer '{}' ({}): oneDNN: {}", node.name, describe(node), error.what()));
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

  void append(LayerPtr layer, const Node& node, const std::vector<ValueId>& uses) {
    layer->info.node = node.name;
    for (const ValueId value : uses) use(placement_.slot(value));
    if (is_reference_implementation(layer->info.implementation)) {
      throw DeviceError(fmt::format("would run on oneDNN's slow '{}'", layer->info.implementation));
    }
    result_.layers.push_back(std::move(layer));
  }

  void use(const Slot& slot) { result_.plan.use(slot.buffer, static_cast<int64_t>(result_.layers.size())); }

  Slot in(const Node& node, size_t index = 0) const { return placement_.slot(node.inputs.at(index)); }
  Slot out(const Node& node) const { return placement_.slot(node.output); }

  /// The input in channel blocks of `block`: itself, or a copy made by a layer before this one.
  Slot in_blocks(const Node& node, size_t index, int64_t block) {
    const Slot own = in(node, index);
    if (own.layout.block == block) return own;
    Slot copy = placement_.fresh(own.layout, block);
    LayerPtr layer = make_reblock(own, copy);
    layer->info.op = "Reorder";
    use(copy);
    append(std::move(layer), node, {node.inputs.at(index)});
    use(copy);  // by the layer that comes next
    return copy;
  }
  Slot native_in(const Node& node, size_t index = 0) { return in_blocks(node, index, native_block()); }

  LayerPtr make(const Node& node, const ConvOp& op) {
    const Slot src = in(node), dst = out(node);
    if (const auto form = winograd_form(op, src.layout, dst.layout, options_.conv)) {
      return make_winograd(op, *form, src, dst, threads_);
    }
    if (LayerPtr layer = make_convolution(context_, op, src, dst)) return layer;
    log(LogLevel::kDebug,
        fmt::format("layer '{}' ({}) runs on own plain code: oneDNN has only its slow reference for it",
                    node.name, describe(node)));
    return make_im2row_convolution(op, src, dst, threads_);
  }
  LayerPtr make(const Node& node, const LinearOp& op) { return make_linear(op, in(node), out(node)); }
  LayerPtr make(const Node& node, const MaxPoolOp& op) {
    return make_max_pool(op, native_in(node), out(node), threads_);
  }
  LayerPtr make(const Node& node, const AveragePoolOp& op) {
    return make_average_pool(op, native_in(node), out(node), threads_);
  }
  LayerPtr make(const Node& node, const GlobalAveragePoolOp&) {
    return make_global_average_pool(native_in(node), out(node));
  }
  LayerPtr make(const Node& node, const LrnOp& op) {
    return make_lrn(op, native_in(node), out(node), threads_);
  }
  LayerPtr make(const Node& node, const SoftmaxOp&) { return make_softmax(native_in(node), out(node)); }
  LayerPtr make(const Node& node, const FlattenOp&) { return make_flatten(in(node), out(node)); }
  LayerPtr make(const Node& node, const AffineOp& op) {
    return make_affine(op, in_blocks(node, 0, out(node).layout.block), out(node));
  }
  LayerPtr make(const Node& node, const ReluOp&) {
    return make_relu(in_blocks(node, 0, out(node).layout.block), out(node));
  }
  LayerPtr make(const Node& node, const ClipOp& op) {
    return make_clip(op, in_blocks(node, 0, out(node).layout.block), out(node));
  }
  LayerPtr make(const Node& node, const PadOp& op) {
    return make_pad(op, in_blocks(node, 0, out(node).layout.block), out(node));
  }
  LayerPtr make(const Node& node, const BinaryOp& op) {
    const int64_t block = out(node).layout.block;
    const Slot left = in_blocks(node, 0, block);
    const Slot right = in_blocks(node, 1, block);
    use(left);  // the right one's copy may have come in between
    return make_binary(op, left, right, out(node));
  }
  LayerPtr make(const Node& node, const ConcatOp&) {
    std::vector<ConcatPart> parts;
    int64_t channel = 0;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const Slot part = in(node, i);
      if (!placement_.written_in_place(node, i)) parts.push_back({part, channel});
      channel += part.layout.c;
    }
    if (parts.empty()) return nullptr;
    return make_concat(std::move(parts), out(node));
  }

  void make_tap_buffers() {
    for (const Tap& tap : options_.taps) {
      const TapShape shape = tap_shape(graph_, placement_.shapes(), tap);
      TapBuffer buffer{.memory = {},
                       .height = shape.height,
                       .width = shape.width,
                       .d = shape.d,
                       .has_grid = shape.has_grid};
      const int64_t elements = element_count(Shape{options_.max_batch, shape.height, shape.width, shape.d});
      const int64_t size_bytes = element_count(Shape{elements, sizeof(float)});
      buffer.memory = allocate_host(size_bytes, fmt::format("tap {}", tap.name));
      result_.taps.push_back(std::move(buffer));
    }
  }

  /// A capture for every tap part that shows this value.
  void capture(ValueId value) {
    for (size_t t = 0; t < options_.taps.size(); ++t) {
      const TapBuffer& buffer = result_.taps[t];
      int64_t column = 0;
      for (const TapPart& part : options_.taps[t].parts) {
        if (part.value == value) {
          const Slot slot = placement_.slot(value);
          LayerPtr layer = make_capture(slot, part.begin, part.end, buffer.data(), buffer.d, column);
          layer->info.node = options_.taps[t].name;
          layer->info.op = "Capture";
          use(slot);
          result_.layers.push_back(std::move(layer));
        }
        column += part.end - part.begin;
      }
    }
  }

  OnednnContext& context_;
  const NetworkOptions& options_;
  int threads_;
  Graph graph_;
  CompiledNetwork result_;
  Placement placement_;
};

}  // namespace

CompiledNetwork compile(OnednnContext& context, const Graph& graph, const NetworkOptions& options,
                        const Division& division) {
  check_options(graph, options);
  return Compiler(context, graph, options, division).compile();
}

}  // namespace branchsae::cpu
