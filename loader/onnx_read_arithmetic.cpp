// Add, Sub, Mul, Div: of constants, of an activation and one number a channel, of two activations.
#include <fmt/format.h>

#include <algorithm>

#include "loader/onnx_fold.h"
#include "loader/onnx_readers.h"

namespace branchsae::loader {

namespace {

const Constant& float_operand(Importer& importer, const NodeView& node, int index) {
  return importer.float_constant(node, index, "operand");
}

/// The operand's shape, aligned with the activation's axes: ones in front, or before operator set 7 the
/// attribute `axis` says where it begins.
Shape aligned_shape(const NodeView& node, const Shape& shape, int rank) {
  Shape aligned = shape;
  if (node.opset() < 7 && node.has("axis")) {
    const int64_t begin = normal_axis(node, node.integer("axis", 0), rank);
    aligned.insert(aligned.begin(), static_cast<size_t>(begin), 1);
    if (aligned.size() < static_cast<size_t>(rank)) aligned.resize(static_cast<size_t>(rank), 1);
  } else if (aligned.size() < static_cast<size_t>(rank)) {
    aligned.insert(aligned.begin(), static_cast<size_t>(rank) - aligned.size(), 1);
  }
  return aligned;
}

/// A constant operand as one number a channel. Throws when it differs along another axis or would make the
/// result larger.
std::vector<double> per_channel(Importer& importer, const NodeView& node, const Constant& constant,
                                const Activation& activation) {
  const std::vector<Extent> extents = importer.extents(activation);
  const Shape shape = aligned_shape(node, constant.shape, activation.rank());
  const auto fail = [&] {
    node.fail(fmt::format(
        "a constant of shape {} with an input of shape {}: only one number a channel is supported",
        branchsae::to_string(constant.shape), to_string(extents)));
  };
  const int64_t channels = activation.is_selection ? static_cast<int64_t>(activation.terms.size())
                                                   : importer.shape(activation.value).at(1);
  if (channels == kDynamic || shape.size() != extents.size() || constant.size() == 0) fail();
  int64_t channel_stride = 0, stride = 1, channel_extent = 1;
  for (size_t axis = shape.size(); axis-- > 0;) {
    const bool fits = shape[axis] == 1 || !extents[axis].is_known() || extents[axis].value == shape[axis];
    if (!fits) fail();
    if (activation.axes[axis] == 1 && shape[axis] > 1) {
      channel_stride = stride;
      channel_extent = shape[axis];
    }
    stride *= shape[axis];
  }
  std::vector<double> values(static_cast<size_t>(channels));
  const HostTensor& floats = *constant.floats;
  for (int64_t c = 0; c < channels; ++c) values[static_cast<size_t>(c)] = floats[c * channel_stride];
  for (int64_t i = 0; i < floats.size(); ++i) {
    const int64_t c = channel_stride == 0 ? 0 : i / channel_stride % channel_extent;
    if (static_cast<double>(floats[i]) != values[static_cast<size_t>(c)]) fail();
  }
  return values;
}

}  // namespace

ChannelTerm scale_term(const NodeView& node, Arithmetic kind, ChannelTerm term, double value,
                       bool is_reversed) {
  switch (kind) {
    case Arithmetic::kAdd:
      term.shift += value;
      break;
    case Arithmetic::kSub:
      term.shift = is_reversed ? value - term.shift : term.shift - value;
      if (is_reversed) term.scale = -term.scale;
      break;
    case Arithmetic::kMul:
      term.scale *= value;
      term.shift *= value;
      break;
    case Arithmetic::kDiv:
      if (is_reversed) node.fail("a constant divided by an activation is not supported");
      if (value == 0) node.fail("division by zero");
      term.scale /= value;
      term.shift /= value;
      break;
  }
  return term;
}

namespace {

void with_constant(Importer& importer, const NodeView& node, Arithmetic kind, int activation_index) {
  const bool is_reversed = activation_index == 1;
  Activation source = importer.activation(node, activation_index);
  if (source.lrn && source.lrn->is_square()) source = importer.elementwise_input(node, activation_index);
  if (source.lrn) {
    scale_lrn_denominator(importer, node, kind, activation_index);
    return;
  }
  const Constant& constant = float_operand(importer, node, 1 - activation_index);
  const std::vector<double> values = per_channel(importer, node, constant, source);
  if (source.is_selection) {
    for (size_t c = 0; c < values.size(); ++c) {
      source.terms[c] = scale_term(node, kind, source.terms[c], values[c], is_reversed);
    }
    importer.bind(node, std::move(source));
    return;
  }
  std::vector<double> scales, shifts;
  for (const double value : values) {
    const ChannelTerm term = scale_term(node, kind, {}, value, is_reversed);
    scales.push_back(term.scale);
    shifts.push_back(term.shift);
  }
  const Shape shape = importer.shape(source.value);
  AffineOp affine{make_vector(scales), make_vector(shifts)};
  source.value = importer.emit(node, std::move(affine), {source.value}, node.output(), shape);
  importer.bind(node, std::move(source));
}

BinaryOp::Kind binary_kind(Arithmetic kind) {
  switch (kind) {
    case Arithmetic::kAdd:
      return BinaryOp::Kind::kAdd;
    case Arithmetic::kSub:
      return BinaryOp::Kind::kSub;
    case Arithmetic::kMul:
      return BinaryOp::Kind::kMul;
    case Arithmetic::kDiv:
      break;
  }
  return BinaryOp::Kind::kDiv;
}

/// Equal as far as both are known.
bool may_be_equal(const Shape& a, const Shape& b) {
  return std::ranges::equal(a, b,
                            [](int64_t x, int64_t y) { return x == y || x == kDynamic || y == kDynamic; });
}

Activation combine_activations(Importer& importer, const NodeView& node, Arithmetic kind, const Activation& a,
                               const Activation& b, const std::string& output) {
  const Shape shape = importer.shape(a.value);
  if (a.axes != b.axes || !may_be_equal(shape, importer.shape(b.value))) {
    node.fail(fmt::format("inputs of shapes {} and {} differ; only equal shapes are supported",
                          to_string(importer.extents(a)), to_string(importer.extents(b))));
  }
  Activation result = a;
  result.value = importer.emit(node, BinaryOp{binary_kind(kind)}, {a.value, b.value}, output, shape);
  return result;
}

void read_arithmetic(Importer& importer, const NodeView& node, Arithmetic kind) {
  const bool a_is_constant = importer.is_constant(node, 0), b_is_constant = importer.is_constant(node, 1);
  if (a_is_constant && b_is_constant) {
    importer.bind(node, fold_arithmetic(node, kind, importer.constant(node, 0), importer.constant(node, 1),
                                        importer.budget()));
  } else if (a_is_constant || b_is_constant) {
    with_constant(importer, node, kind, a_is_constant ? 1 : 0);
  } else if (kind == Arithmetic::kDiv && importer.is_lrn_denominator(node, 1)) {
    divide_by_lrn_denominator(importer, node);
  } else {
    const Activation a = importer.elementwise_input(node, 0), b = importer.elementwise_input(node, 1);
    if (kind == Arithmetic::kMul && a.value == b.value && a.axes == b.axes) {
      bind_square(importer, node, a);
    } else {
      importer.bind(node, combine_activations(importer, node, kind, a, b, node.output()));
    }
  }
}

}  // namespace

void read_add(Importer& importer, const NodeView& node) {
  read_arithmetic(importer, node, Arithmetic::kAdd);
}

void read_sub(Importer& importer, const NodeView& node) {
  read_arithmetic(importer, node, Arithmetic::kSub);
}

void read_mul(Importer& importer, const NodeView& node) {
  read_arithmetic(importer, node, Arithmetic::kMul);
}

void read_div(Importer& importer, const NodeView& node) {
  read_arithmetic(importer, node, Arithmetic::kDiv);
}

/// A chain of additions.
void read_sum(Importer& importer, const NodeView& node) {
  Activation sum = importer.elementwise_input(node, 0);
  for (int i = 1; i < node.input_count(); ++i) {
    const bool is_last = i + 1 == node.input_count();
    const std::string name =
        is_last ? node.output() : importer.synthetic_name(fmt::format("{}/sum{}", node.output(), i));
    sum =
        combine_activations(importer, node, Arithmetic::kAdd, sum, importer.elementwise_input(node, i), name);
  }
  importer.bind(node, std::move(sum));
}

}  // namespace branchsae::loader
