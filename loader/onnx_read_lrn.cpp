// Local response normalisation as PyTorch exports it: x / (k + alpha * mean of x^2 over n channels)^beta, in
// nodes Mul, Pad, AveragePool over three axes, Mul, Add, Pow, Div with reshapes between them.
#include <fmt/format.h>

#include <algorithm>

#include "loader/onnx_fold.h"
#include "loader/onnx_readers.h"

namespace branchsae::loader {

namespace {

const Constant& single_number(Importer& importer, const NodeView& node, int index) {
  const Constant& number = importer.float_constant(node, index, "operand");
  if (number.size() != 1) {
    node.fail(
        fmt::format("an operand of {} elements is not supported here; only one number is", number.size()));
  }
  return number;
}

/// What may still be scaled, shifted and raised to a power.
LrnDenominator& open_denominator(const NodeView& node, Activation& activation) {
  LrnDenominator& lrn = activation.lrn.value();
  if (lrn.size == 0 || lrn.has_power) {
    node.fail(
        "is not expected here inside a local response normalisation (mean, scale, shift, power, division)");
  }
  return lrn;
}

/// One list for each spatial ONNX axis.
struct PoolWindow {
  std::vector<int64_t> kernel, pad_begin, pad_end;
};

PoolWindow pool_window(const NodeView& node, size_t spatial) {
  PoolWindow window;
  window.kernel = node.integers("kernel_shape");
  std::vector<int64_t> pads = node.integers("pads", std::vector<int64_t>(2 * spatial, 0));
  const std::vector<int64_t> ones(spatial, 1);
  const bool is_simple = node.integers("strides", ones) == ones && node.integers("dilations", ones) == ones &&
                         pads.size() == 2 * spatial && node.text("auto_pad", "NOTSET") == "NOTSET";
  if (!is_simple) node.fail("only a window over channels with stride 1 is supported on three axes");
  const bool counts_pads = node.integer("count_include_pad", 0) != 0;
  const bool has_pads = std::ranges::any_of(pads, [](int64_t pad) { return pad != 0; });
  if (has_pads && !counts_pads) node.fail("a mean over channels must count its padding (count_include_pad)");
  window.pad_begin.assign(pads.begin(), pads.begin() + static_cast<long>(spatial));
  window.pad_end.assign(pads.begin() + static_cast<long>(spatial), pads.end());
  return window;
}

}  // namespace

void bind_square(Importer& importer, const NodeView& node, Activation root) {
  root.lrn.emplace();
  importer.bind(node, std::move(root));
}

bool read_lrn_mean(Importer& importer, const NodeView& node) {
  const size_t spatial = node.integers("kernel_shape").size();
  Activation mean = importer.activation(node, 0);
  if (spatial != 3 || mean.rank() != 5 || !mean.lrn) return false;
  const PoolWindow window = pool_window(node, spatial);
  LrnDenominator& lrn = *mean.lrn;
  if (lrn.size != 0) node.fail("a second mean inside a local response normalisation is not supported");
  int64_t size = 1;
  for (size_t i = 0; i < spatial; ++i) {
    if (mean.axes[i + 2] == 1) {
      size = window.kernel[i];
      lrn.pad_begin += window.pad_begin[i];
      lrn.pad_end += window.pad_end[i];
    } else if (window.kernel[i] != 1 || window.pad_begin[i] != 0 || window.pad_end[i] != 0) {
      node.fail(fmt::format("kernel {} is not supported; on three axes only means over channels are",
                            branchsae::to_string(window.kernel)));
    }
  }
  // ONNX's LRN reaches floor((size - 1) / 2) channels down and ceil((size - 1) / 2) up.
  if (size < 1 || size > kMaxWindow || lrn.pad_begin != (size - 1) / 2 || lrn.pad_end != size / 2) {
    node.fail(
        fmt::format("a mean over {} channels with {} zero channels before and {} after is not supported; {} "
                    "and {} are needed",
                    size, lrn.pad_begin, lrn.pad_end, (size - 1) / 2, size / 2));
  }
  lrn.size = size;
  importer.bind(node, std::move(mean));
  return true;
}

void scale_lrn_denominator(Importer& importer, const NodeView& node, Arithmetic kind, int activation_index) {
  Activation scaled = importer.activation(node, activation_index);
  LrnDenominator& lrn = open_denominator(node, scaled);
  const double value = (*single_number(importer, node, 1 - activation_index).floats)[0];
  const ChannelTerm term = scale_term(node, kind, {0, lrn.scale, lrn.shift}, value, activation_index == 1);
  lrn.scale = term.scale;
  lrn.shift = term.shift;
  importer.bind(node, std::move(scaled));
}

void divide_by_lrn_denominator(Importer& importer, const NodeView& node) {
  const ValueId source = importer.nchw_input(node, 0);
  const Activation& denominator = importer.activation(node, 1);
  const LrnDenominator& lrn = denominator.lrn.value();
  if (denominator.value != source || lrn.size == 0 || denominator.axes != std::vector<int>{0, 1, 2, 3}) {
    node.fail("divides by the local response of another tensor or in another shape, which is not supported");
  }
  const LrnOp op{lrn.size, static_cast<float>(lrn.scale), static_cast<float>(lrn.power),
                 static_cast<float>(lrn.shift)};
  const Shape shape = importer.shape(source);
  importer.emit_output(node, op, {source}, shape);
}

void read_pow(Importer& importer, const NodeView& node) {
  const float exponent = (*single_number(importer, node, 1).floats)[0];
  if (importer.is_lrn_denominator(node, 0)) {
    Activation raised = importer.activation(node, 0);
    LrnDenominator& lrn = open_denominator(node, raised);
    lrn.power = exponent;
    lrn.has_power = true;
    importer.bind(node, std::move(raised));
    return;
  }
  if (exponent != 2) {
    node.fail(fmt::format("exponent {} is supported only in local response normalisation; elsewhere 2 is",
                          exponent));
  }
  bind_square(importer, node, importer.elementwise_input(node, 0));
}

}  // namespace branchsae::loader
