// Pad: of images, and of the squares in a spelled-out local response normalisation.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "loader/onnx_fold.h"
#include "loader/onnx_readers.h"

namespace branchsae::loader {

namespace {

struct Padding {
  std::vector<int64_t> amounts;  ///< all begins, then all ends, for the axes below
  std::vector<int64_t> axes;
  float value = 0;
};

float pad_value(Importer& importer, const NodeView& node) {
  if (!node.has_input(2)) return node.real("value", 0.0F);  // attribute before operator set 11
  const Constant& value = importer.float_constant(node, 2, "constant_value");
  if (value.size() != 1)
    node.fail(fmt::format("constant_value has {} elements instead of one", value.size()));
  return (*value.floats)[0];
}

Padding read_padding(Importer& importer, const NodeView& node, int rank) {
  const std::string mode = node.text("mode", "constant");
  if (mode != "constant")
    node.fail(fmt::format("mode '{}' is not supported; only 'constant' is", printable(mode)));
  Padding padding;
  padding.amounts = node.has_input(1) ? importer.integer_list(node, 1, "pads") : node.integers("pads");
  for (int64_t axis = 0; axis < rank; ++axis) padding.axes.push_back(axis);
  if (node.has_input(3)) {  // since operator set 18
    padding.axes = normal_axes(node, importer.integer_list(node, 3, "axes"), rank);
  }
  if (padding.amounts.size() != 2 * padding.axes.size()) {
    node.fail(fmt::format("pads {} has {} numbers; {} are needed", branchsae::to_string(padding.amounts),
                          padding.amounts.size(), 2 * padding.axes.size()));
  }
  padding.value = pad_value(importer, node);
  if (std::isnan(padding.value)) node.fail("pads with NaN");
  return padding;
}

/// Pads of H and W; throws when another axis is padded or rows are cut off.
PadOp pad_op(const NodeView& node, const Padding& padding, const std::vector<int>& logical_axes) {
  PadOp pad;
  pad.value = padding.value;
  const size_t count = padding.axes.size();
  for (size_t i = 0; i < count; ++i) {
    const int64_t begin = padding.amounts[i], end = padding.amounts[count + i];
    const int logical = logical_axes[static_cast<size_t>(padding.axes[i])];
    if (begin == 0 && end == 0) continue;
    if (logical < 2 || begin < 0 || end < 0 || begin > kMaxWindow || end > kMaxWindow) {
      node.fail(fmt::format("pads {} are not supported; only rows and columns may be added, at most {}",
                            branchsae::to_string(padding.amounts), kMaxWindow));
    }
    pad.begin[static_cast<size_t>(logical) - 2] = begin;
    pad.end[static_cast<size_t>(logical) - 2] = end;
  }
  return pad;
}

/// Zero channels added to a square begin a local response normalisation; false when this is something else.
bool pads_square(Importer& importer, const NodeView& node, const Padding& padding) {
  Activation square = importer.activation(node, 0);
  if (!square.lrn || !square.lrn->is_square() || padding.value != 0) return false;
  const size_t count = padding.axes.size();
  LrnDenominator& lrn = *square.lrn;
  for (size_t i = 0; i < count; ++i) {
    const int64_t begin = padding.amounts[i], end = padding.amounts[count + i];
    if (begin == 0 && end == 0) continue;
    if (square.axes[static_cast<size_t>(padding.axes[i])] != 1) return false;
    if (begin < 0 || end < 0 || begin > kMaxWindow || end > kMaxWindow) return false;
    lrn.pad_begin = begin;
    lrn.pad_end = end;
  }
  importer.bind(node, std::move(square));
  return true;
}

void pad_image(Importer& importer, const NodeView& node, const Padding& padding) {
  Activation source = importer.elementwise_input(node, 0);
  const PadOp pad = pad_op(node, padding, source.axes);
  Shape shape = importer.shape(source.value);
  for (size_t axis = 0; axis < 2; ++axis) {
    int64_t& extent = shape[axis + 2];
    if (extent != kDynamic) extent += pad.begin[axis] + pad.end[axis];
  }
  source.value = importer.emit(node, pad, {source.value}, node.output(), shape);
  importer.bind(node, std::move(source));
}

}  // namespace

void read_pad(Importer& importer, const NodeView& node) {
  const Padding padding = read_padding(importer, node, importer.activation(node, 0).rank());
  const bool pads_nothing = std::ranges::all_of(padding.amounts, [](int64_t amount) { return amount == 0; });
  if (pads_nothing) {
    importer.bind(node, importer.activation(node, 0));
  } else if (!pads_square(importer, node, padding)) {
    pad_image(importer, node, padding);
  }
}

}  // namespace branchsae::loader
