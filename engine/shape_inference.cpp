#include <fmt/format.h>

#include <algorithm>

#include "engine/error.h"
#include "engine/passes.h"
#include "engine/validate.h"

namespace branchsae {
namespace {

/// Far above any real image or window; products of two and their sums stay far below 2^63.
constexpr int64_t kExtentLimit = int64_t{1} << 30;
constexpr int64_t kWindowLimit = int64_t{1} << 16;

void check_range(const Window& window, size_t axis, int64_t in) {
  const auto within = [](int64_t size, int64_t least) { return size >= least && size <= kWindowLimit; };
  if (in < 1 || in > kExtentLimit || !within(window.kernel[axis], 1) || !within(window.stride[axis], 1) ||
      !within(window.dilation[axis], 1) || !within(window.pad_begin[axis], 0) ||
      !within(window.pad_end[axis], 0)) {
    throw ShapeError(
        fmt::format("kernel {}, stride {}, dilation {} or padding {}, {} is out of range for an extent of {}",
                    window.kernel[axis], window.stride[axis], window.dilation[axis], window.pad_begin[axis],
                    window.pad_end[axis], in));
  }
}

/// Output extent along one axis; not positive when the window does not fit.
int64_t output_extent(int64_t in, int64_t reach, int64_t stride, int64_t begin, int64_t end, bool ceil_mode) {
  const int64_t room = in + begin + end - reach;
  if (!ceil_mode) return room < 0 ? 0 : room / stride + 1;
  // Rounding up also grants a window that the input is up to stride - 1 too short for.
  if (room + stride - 1 < 0) return 0;
  const int64_t out = (room + stride - 1) / stride + 1;
  const bool last_starts_in_end_padding = (out - 1) * stride >= in + begin;
  return last_starts_in_end_padding ? out - 1 : out;
}

/// Whether each window along this axis sees at least one real element. Only the ends and, with dilation,
/// short inputs can go wrong, so few positions have to be looked at.
bool windows_see_input(const Window& window, size_t axis, const WindowExtent& extent, int64_t in) {
  const int64_t kernel = window.kernel[axis], stride = window.stride[axis], dilation = window.dilation[axis];
  const auto sees = [&](int64_t index) {
    const int64_t start = index * stride - extent.pad_begin;
    const int64_t skipped = start >= 0 ? 0 : (-start + dilation - 1) / dilation;
    return skipped < kernel && start + skipped * dilation < in;
  };
  // A window that starts inside the input sees its own start.
  const int64_t first_inside = std::min(extent.out, (extent.pad_begin + stride - 1) / stride);
  for (int64_t index = 0; index < first_inside; ++index) {
    if (!sees(index)) return false;
  }
  return sees(extent.out - 1);
}

struct InferOp {
  const Graph& graph;
  const Node& node;
  const std::vector<Shape>& shapes;

  [[noreturn]] void fail(const std::string& what) const {
    std::string inputs;
    for (const ValueId id : node.inputs) {
      inputs += fmt::format("{}\"{}\" {}", inputs.empty() ? "" : ", ", graph.value(id).name,
                            to_string(shapes[static_cast<size_t>(id)]));
    }
    throw ShapeError(
        fmt::format("node \"{}\" ({}) with input {}: {}", node.name, op_name(node.op), inputs, what));
  }

  const Shape& src(size_t index = 0) const { return shapes.at(static_cast<size_t>(node.inputs[index])); }

  const Shape& image() const {
    if (src().size() != 4) fail("takes [N, C, H, W]");
    return src();
  }

  /// H and W after the window; `looks_at_input` when a window over padding alone has no meaning.
  Shape slide(int64_t channels, const Window& window, bool ceil_mode, bool looks_at_input) const {
    Shape dst{image()[0], channels, 0, 0};
    for (const int axis : {0, 1}) {
      const auto a = static_cast<size_t>(axis);
      const int64_t in = image()[2 + a];
      WindowExtent extent{};
      try {
        extent = window_extent(window, axis, in, ceil_mode);
      } catch (const ShapeError& error) {
        fail(error.what());
      }
      const auto describe = [&] {
        return fmt::format("window {}x{}, dilation {}x{}, padding {}+{}", window.kernel[0], window.kernel[1],
                           window.dilation[0], window.dilation[1], extent.pad_begin, extent.pad_end);
      };
      const char* name = axis == 0 ? "height" : "width";
      if (extent.out < 1) fail(fmt::format("{} {} is too small for {}", name, in, describe()));
      if (looks_at_input && !windows_see_input(window, a, extent, in)) {
        fail(fmt::format("at {} {}, {}: a position sees padding only", name, in, describe()));
      }
      dst[2 + a] = extent.out;
    }
    return dst;
  }

  Shape operator()(const ConvOp& op) const {
    const Shape& weight = op.weight->shape();
    if (image()[1] % op.groups != 0 || image()[1] / op.groups != weight[1]) {
      fail(fmt::format("weight {} in {} group(s) does not fit {} channels", to_string(weight), op.groups,
                       image()[1]));
    }
    return slide(weight[0], op.window, false, false);
  }

  Shape operator()(const MaxPoolOp& op) const { return slide(image()[1], op.window, op.ceil_mode, true); }

  Shape operator()(const AveragePoolOp& op) const {
    return slide(image()[1], op.window, op.ceil_mode, !op.count_include_pad);
  }

  Shape operator()(const GlobalAveragePoolOp&) const { return {image()[0], image()[1], 1, 1}; }
  Shape operator()(const LrnOp&) const { return image(); }
  Shape operator()(const ReluOp&) const { return src(); }
  Shape operator()(const ClipOp&) const { return src(); }

  Shape operator()(const ConcatOp&) const {
    Shape dst = src();
    if (dst.size() < 2) fail("takes [N, C] or [N, C, H, W]");
    for (size_t i = 1; i < node.inputs.size(); ++i) {
      Shape other = src(i);
      if (other.size() != dst.size()) fail("inputs differ in rank");
      const int64_t channels = other[1];
      other[1] = dst[1];
      if (other != dst) fail("inputs differ beyond their channels");
      dst[1] += channels;
    }
    return dst;
  }

  Shape operator()(const LinearOp& op) const {
    const Shape& weight = op.weight->shape();
    if (src().size() < 2) fail("takes [N, C] or [N, C, H, W]");
    const int64_t inputs = element_count(std::span(src()).subspan(1));
    if (weight[1] != inputs) {
      fail(fmt::format("weight {} takes {} numbers per image, not {}", to_string(weight), weight[1], inputs));
    }
    return {src()[0], weight[0]};
  }

  Shape operator()(const AffineOp& op) const {
    if (src().size() < 2 || op.scale->size() != src()[1]) {
      fail(fmt::format("scale and shift {} do not fit the channels", to_string(op.scale->shape())));
    }
    return src();
  }

  Shape operator()(const SoftmaxOp&) const {
    const bool plain = src().size() == 2;
    if (!plain && !(src().size() == 4 && src()[2] == 1 && src()[3] == 1)) {
      fail("takes [N, C] or [N, C, 1, 1]");
    }
    return src();
  }

  Shape operator()(const FlattenOp&) const {
    if (src().size() < 2) fail("takes [N, C] or [N, C, H, W]");
    return {src()[0], element_count(std::span(src()).subspan(1))};
  }

  Shape operator()(const PadOp& op) const {
    Shape dst = image();
    for (size_t axis = 0; axis < 2; ++axis) {
      for (const int64_t pad : {op.begin[axis], op.end[axis]}) {
        if (pad < -kExtentLimit || pad > kExtentLimit) fail(fmt::format("padding {} is out of range", pad));
      }
      dst[2 + axis] += op.begin[axis] + op.end[axis];
      if (dst[2 + axis] < 1) {
        fail(fmt::format("padding {}, {} leaves nothing of it", op.begin[axis], op.end[axis]));
      }
    }
    return dst;
  }

  Shape operator()(const BinaryOp&) const {
    if (src(0) != src(1)) fail("shapes must be equal");
    return src();
  }
};

Shape input_shape(const Graph& graph, int64_t batch, int64_t height, int64_t width) {
  const Value& input = graph.value(graph.input);
  if (input.shape.size() != 4 || input.shape[1] < 1) {
    throw ShapeError(fmt::format("the network's input \"{}\" {} must be [N, C, H, W] with known C",
                                 input.name, to_string(input.shape)));
  }
  const Shape wanted{batch, input.shape[1], height, width};
  for (size_t axis = 0; axis < 4; ++axis) {
    // A fixed batch in the file restricts nothing: images are independent of each other.
    const bool fits = axis == 0 || input.shape[axis] == kDynamic || input.shape[axis] == wanted[axis];
    if (wanted[axis] < 1 || wanted[axis] > kExtentLimit || !fits) {
      throw ShapeError(fmt::format("images of shape {} do not fit the network's input \"{}\" {}",
                                   to_string(wanted), input.name, to_string(input.shape)));
    }
  }
  return wanted;
}

}  // namespace

WindowExtent window_extent(const Window& window, int axis, int64_t in, bool ceil_mode) {
  const auto a = static_cast<size_t>(axis);
  check_range(window, a, in);
  const int64_t stride = window.stride[a];
  const int64_t reach = window.dilation[a] * (window.kernel[a] - 1) + 1;
  WindowExtent extent{window.pad_begin[a], window.pad_end[a], 0};
  if (window.auto_pad != AutoPad::kNone) {
    const int64_t out = (in + stride - 1) / stride;
    const int64_t pads = std::max<int64_t>(0, (out - 1) * stride + reach - in);
    const int64_t odd = window.auto_pad == AutoPad::kSameLower ? pads % 2 : 0;
    extent.pad_begin = pads / 2 + odd;
    extent.pad_end = pads - extent.pad_begin;
  }
  extent.out = output_extent(in, reach, stride, extent.pad_begin, extent.pad_end, ceil_mode);
  return extent;
}

std::vector<Shape> infer_shapes(const Graph& graph, int64_t batch, int64_t height, int64_t width) {
  validate(graph);
  std::vector<Shape> shapes(graph.values.size());
  shapes.at(static_cast<size_t>(graph.input)) = input_shape(graph, batch, height, width);
  for (const Node& node : graph.nodes) {
    const InferOp infer{graph, node, shapes};
    Shape shape = std::visit(infer, node.op);
    for (const int64_t extent : shape) {
      if (extent > kExtentLimit) infer.fail(fmt::format("its output {} is absurdly large", to_string(shape)));
    }
    element_count(shape);
    shapes.at(static_cast<size_t>(node.output)) = std::move(shape);
  }
  return shapes;
}

}  // namespace branchsae
