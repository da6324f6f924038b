// Operators with a window over H and W: convolution, pooling, means.
#include <fmt/format.h>

#include <algorithm>

#include "engine/error.h"
#include "engine/passes.h"
#include "loader/onnx_fold.h"
#include "loader/onnx_readers.h"

namespace branchsae::loader {

namespace {

AutoPad auto_pad_of(const NodeView& node, bool& is_valid) {
  const std::string text = node.text("auto_pad", "NOTSET");
  is_valid = text == "VALID";
  if (is_valid || text == "NOTSET") return AutoPad::kNone;
  if (text == "SAME_UPPER") return AutoPad::kSameUpper;
  if (text == "SAME_LOWER") return AutoPad::kSameLower;
  node.fail(
      fmt::format("auto_pad '{}' is not one of NOTSET, VALID, SAME_UPPER, SAME_LOWER", printable(text)));
}

/// Two numbers of an attribute, each within [least, kMaxWindow].
std::array<int64_t, 2> pair_of(const NodeView& node, const char* name, std::vector<int64_t> values,
                               int64_t least) {
  if (values.size() != 2) {
    node.fail(
        fmt::format("{} {} has {} numbers; 2, for H and W, are needed (only two-dimensional images are "
                    "supported)",
                    name, branchsae::to_string(values), values.size()));
  }
  for (const int64_t value : values) {
    if (value < least || value > kMaxWindow) {
      node.fail(fmt::format("{} {} is out of range; each must be {} to {}", name,
                            branchsae::to_string(values), least, kMaxWindow));
    }
  }
  return {values[0], values[1]};
}

Window read_window(const NodeView& node, std::vector<int64_t> kernel) {
  Window window;
  window.kernel = pair_of(node, "kernel_shape", std::move(kernel), 1);
  window.stride = pair_of(node, "strides", node.integers("strides", {1, 1}), 1);
  window.dilation = pair_of(node, "dilations", node.integers("dilations", {1, 1}), 1);
  bool is_valid = false;
  window.auto_pad = auto_pad_of(node, is_valid);
  const std::vector<int64_t> pads = node.integers("pads", {0, 0, 0, 0});
  if (pads.size() != 4) {
    node.fail(fmt::format("pads {} has {} numbers; 4 are needed", branchsae::to_string(pads), pads.size()));
  }
  if (is_valid || window.auto_pad != AutoPad::kNone) return window;  // then pads are to be ignored
  window.pad_begin = pair_of(node, "pads", {pads[0], pads[1]}, 0);
  window.pad_end = pair_of(node, "pads", {pads[2], pads[3]}, 0);
  return window;
}

/// A pooling window must always see a real element along each axis.
void check_pool_pads(const NodeView& node, const Window& window) {
  for (size_t axis = 0; axis < 2; ++axis) {
    const int64_t reach = (window.kernel[axis] - 1) * window.dilation[axis] + 1;
    if (window.pad_begin[axis] < reach && window.pad_end[axis] < reach) continue;
    node.fail(fmt::format("pads {} and {} are as large as the kernel's {}: windows would see padding only",
                          branchsae::to_string(window.pad_begin), branchsae::to_string(window.pad_end),
                          reach));
  }
}

/// The output of a window over a value [N, C, H, W]; unknown sizes stay unknown.
Shape window_output(const NodeView& node, const Window& window, const Shape& source, int64_t channels,
                    bool ceil_mode) {
  Shape shape{source[0], channels, kDynamic, kDynamic};
  for (int axis = 0; axis < 2; ++axis) {
    const int64_t extent = source[static_cast<size_t>(axis) + 2];
    if (extent == kDynamic) continue;
    int64_t out = 0;
    try {
      out = window_extent(window, axis, extent, ceil_mode).out;
    } catch (const InputError& error) {
      node.fail(error.what());
    }
    if (out < 1) {
      node.fail(fmt::format("a window of {} does not fit into its input of shape {}",
                            branchsae::to_string(window.kernel), branchsae::to_string(source)));
    }
    if (out > kMaxExtent) {
      node.fail(fmt::format("pads {} and {} make an absurd output of {} rows or columns",
                            branchsae::to_string(window.pad_begin), branchsae::to_string(window.pad_end),
                            out));
    }
    shape[static_cast<size_t>(axis) + 2] = out;
  }
  return shape;
}

std::vector<int64_t> kernel_of_weight(const NodeView& node, const Shape& weight) {
  std::vector<int64_t> kernel(weight.begin() + 2, weight.end());
  const std::vector<int64_t> stated = node.integers("kernel_shape", kernel);
  if (stated != kernel) {
    node.fail(fmt::format("kernel_shape {} differs from the weight's shape {}", branchsae::to_string(stated),
                          branchsae::to_string(weight)));
  }
  return kernel;
}

void check_conv_channels(const NodeView& node, const Shape& weight, int64_t groups, const Shape& source) {
  const bool fits = groups >= 1 && groups <= kMaxExtent && weight[0] >= 1 && weight[0] % groups == 0 &&
                    weight[1] * groups == source[1];
  if (fits) return;
  node.fail(fmt::format("weight of shape {} in {} groups does not fit an input of shape {} ({} channels)",
                        branchsae::to_string(weight), groups, branchsae::to_string(source), source[1]));
}

ConstTensor conv_bias(Importer& importer, const NodeView& node, int64_t outputs) {
  if (!node.has_input(2)) return std::make_shared<HostTensor>(Shape{outputs});
  const Constant& bias = importer.float_constant(node, 2, "bias");
  if (bias.shape != Shape{outputs}) {
    node.fail(fmt::format("bias of shape {} does not fit {} output channels",
                          branchsae::to_string(bias.shape), outputs));
  }
  return bias.floats;
}

/// True when every window position sees the whole image, so that the pool is the mean over H and W.
bool covers_whole_map(const Window& window, const Shape& source, const Shape& output, bool counts_pads) {
  for (size_t axis = 0; axis < 2; ++axis) {
    const int64_t extent = source[axis + 2];
    if (extent == kDynamic || output[axis + 2] != 1 || window.dilation[axis] != 1) return false;
    const WindowExtent placed = window_extent(window, static_cast<int>(axis), extent, false);
    if (placed.pad_begin + extent > window.kernel[axis]) return false;
    if (counts_pads && window.kernel[axis] != extent) return false;
  }
  return true;
}

}  // namespace

void read_conv(Importer& importer, const NodeView& node) {
  const ValueId input = importer.nchw_input(node, 0);
  const Shape source = importer.shape(input);
  const Constant& weight = importer.float_constant(node, 1, "weight");
  if (weight.shape.size() != 4) {
    node.fail(
        fmt::format("weight of shape {} is not [outputs, inputs, KH, KW]; only two-dimensional convolutions "
                    "are supported",
                    branchsae::to_string(weight.shape)));
  }
  ConvOp conv;
  conv.groups = node.integer("group", 1);
  check_conv_channels(node, weight.shape, conv.groups, source);
  conv.window = read_window(node, kernel_of_weight(node, weight.shape));
  conv.weight = weight.floats;
  conv.bias = conv_bias(importer, node, weight.shape[0]);
  const Shape shape = window_output(node, conv.window, source, weight.shape[0], false);
  importer.emit_output(node, std::move(conv), {input}, shape);
}

void read_max_pool(Importer& importer, const NodeView& node) {
  const ValueId input = importer.nchw_input(node, 0);
  if (importer.is_output_used(node, 1))
    node.fail("the indices of the maxima (second output) are not supported");
  MaxPoolOp pool;
  pool.window = read_window(node, node.integers("kernel_shape"));
  check_pool_pads(node, pool.window);
  pool.ceil_mode = node.integer("ceil_mode", 0) != 0;
  const Shape source = importer.shape(input);
  const Shape shape = window_output(node, pool.window, source, source[1], pool.ceil_mode);
  importer.emit_output(node, std::move(pool), {input}, shape);
}

void read_average_pool(Importer& importer, const NodeView& node) {
  if (read_lrn_mean(importer, node)) return;
  const ValueId input = importer.nchw_input(node, 0);
  AveragePoolOp pool;
  pool.window = read_window(node, node.integers("kernel_shape"));
  check_pool_pads(node, pool.window);
  pool.ceil_mode = node.integer("ceil_mode", 0) != 0;
  pool.count_include_pad = node.integer("count_include_pad", 0) != 0;
  const Shape source = importer.shape(input);
  const Shape shape = window_output(node, pool.window, source, source[1], pool.ceil_mode);
  if (covers_whole_map(pool.window, source, shape, pool.count_include_pad)) {
    importer.emit_output(node, GlobalAveragePoolOp{}, {input}, shape);
  } else {
    importer.emit_output(node, std::move(pool), {input}, shape);
  }
}

void read_global_average_pool(Importer& importer, const NodeView& node) {
  const ValueId input = importer.nchw_input(node, 0);
  importer.emit_output(node, GlobalAveragePoolOp{}, {input}, {kDynamic, importer.shape(input)[1], 1, 1});
}

void read_reduce_mean(Importer& importer, const NodeView& node) {
  const Activation source = importer.elementwise_input(node, 0);
  std::vector<int64_t> axes = node.integers("axes");
  if (node.has_input(1)) axes = importer.integer_list(node, 1, "axes");  // since operator set 18
  axes = normal_axes(node, std::move(axes), source.rank());
  std::vector<int> logical;
  for (const int64_t axis : axes) logical.push_back(source.axes[static_cast<size_t>(axis)]);
  std::ranges::sort(logical);
  const Shape shape = importer.shape(source.value);
  if (logical != std::vector<int>{2, 3} || shape.size() != 4) {
    node.fail(fmt::format("the mean over axes {} of shape {} is not supported; only that over H and W is",
                          branchsae::to_string(axes), to_string(importer.extents(source))));
  }
  const bool keeps = node.integer("keepdims", 1) != 0;
  const std::string name = keeps ? node.output() : importer.synthetic_name(node.output() + "/mean");
  Activation mean = source;
  mean.value = importer.emit(node, GlobalAveragePoolOp{}, {source.value}, name, {kDynamic, shape[1], 1, 1});
  if (!keeps) std::erase_if(mean.axes, [](int axis) { return axis == 2 || axis == 3; });
  importer.bind_view(node, std::move(mean));
}

}  // namespace branchsae::loader
