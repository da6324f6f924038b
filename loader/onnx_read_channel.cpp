// Operators that treat each channel, or all channels of one position: activations, normalisation, Concat.
#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "loader/onnx_fold.h"
#include "loader/onnx_readers.h"

namespace branchsae::loader {

namespace {

/// Elementwise: any order of axes will do.
void read_elementwise(Importer& importer, const NodeView& node, Op op) {
  Activation source = importer.elementwise_input(node, 0);
  const Shape shape = importer.shape(source.value);
  source.value = importer.emit(node, std::move(op), {source.value}, node.output(), shape);
  importer.bind(node, std::move(source));
}

float clip_limit(Importer& importer, const NodeView& node, int index, const char* attribute, float fallback) {
  if (!node.has_input(index)) return node.real(attribute, fallback);  // attributes before operator set 11
  const Constant& limit = importer.float_constant(node, index, attribute);
  if (limit.size() != 1) node.fail(fmt::format("{} has {} elements instead of one", attribute, limit.size()));
  return (*limit.floats)[0];
}

std::vector<double> channel_parameter(Importer& importer, const NodeView& node, int index, const char* role,
                                      int64_t channels) {
  const Constant& parameter = importer.float_constant(node, index, role);
  if (parameter.shape != Shape{channels}) {
    node.fail(fmt::format("{} of shape {} does not fit {} channels", role,
                          branchsae::to_string(parameter.shape), channels));
  }
  const auto values = parameter.floats->values();
  return {values.begin(), values.end()};
}

}  // namespace

void read_relu(Importer& importer, const NodeView& node) {
  read_elementwise(importer, node, ReluOp{});
}

void read_clip(Importer& importer, const NodeView& node) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  const float least = clip_limit(importer, node, 1, "min", -kLargest);
  const float largest = clip_limit(importer, node, 2, "max", kLargest);
  if (std::isnan(least) || std::isnan(largest)) node.fail("a limit is NaN");
  if (least == 0 && largest >= kLargest) {
    read_elementwise(importer, node, ReluOp{});
  } else {
    read_elementwise(importer, node, ClipOp{least, largest});
  }
}

void read_lrn(Importer& importer, const NodeView& node) {
  const ValueId input = importer.nchw_input(node, 0);
  LrnOp lrn;
  lrn.size = node.integer("size", 0);
  if (lrn.size < 1 || lrn.size > kMaxWindow) node.fail(fmt::format("size {} is out of range", lrn.size));
  lrn.alpha = node.real("alpha", 1e-4F);
  lrn.beta = node.real("beta", 0.75F);
  lrn.bias = node.real("bias", 1.0F);
  const Shape shape = importer.shape(input);
  importer.emit_output(node, lrn, {input}, shape);
}

void read_softmax(Importer& importer, const NodeView& node) {
  Activation source = importer.elementwise_input(node, 0);
  const Shape shape = importer.shape(source.value);
  const std::vector<Extent> extents = importer.extents(source);
  // Before operator set 13 everything from `axis` on was one flattened axis.
  const bool flattens = node.opset() < 13;
  const int64_t axis = normal_axis(node, node.integer("axis", flattens ? 1 : -1), source.rank());
  bool is_over_channels = source.axes[static_cast<size_t>(axis)] == 1;
  for (size_t i = 0; i < source.axes.size(); ++i) {
    // SoftmaxOp has no other axes than N and C; sizes known only later are checked by the engine.
    if (source.axes[i] > 1 && extents[i].is_known() && extents[i].value != 1) is_over_channels = false;
  }
  if (!is_over_channels) {
    node.fail(
        fmt::format("axis {} of shape {} is not supported; only the channels of [N, C] or [N, C, 1, 1] are",
                    axis, to_string(extents)));
  }
  source.value = importer.emit(node, SoftmaxOp{}, {source.value}, node.output(), shape);
  importer.bind(node, std::move(source));
}

/// y = scale * (x - mean) / sqrt(variance + epsilon) + offset, per channel, in double. Files of operator set
/// 6 often leave is_test at 0 although they were exported for inference, so it is not looked at.
void read_batch_normalization(Importer& importer, const NodeView& node) {
  Activation source = importer.elementwise_input(node, 0);
  const Shape shape = importer.shape(source.value);
  if (node.integer("spatial", 1) != 1)
    node.fail("spatial = 0 (parameters for each position) is not supported");
  if (node.integer("training_mode", 0) != 0)
    node.fail("training_mode is set; export the network for inference");
  for (int index = 1; index < node.output_count(); ++index) {
    if (importer.is_output_used(node, index)) node.fail("outputs beyond the first are not supported");
  }
  if (source.rank() < 2 || source.axes[1] != 1) node.fail("axis 1 of the input does not hold the channels");
  const std::vector<double> scale = channel_parameter(importer, node, 1, "scale", shape[1]);
  const std::vector<double> offset = channel_parameter(importer, node, 2, "offset", shape[1]);
  const std::vector<double> mean = channel_parameter(importer, node, 3, "mean", shape[1]);
  const std::vector<double> variance = channel_parameter(importer, node, 4, "variance", shape[1]);
  const double epsilon = node.real("epsilon", 1e-5F);
  std::vector<double> factor(scale.size()), shift(scale.size());
  for (size_t c = 0; c < scale.size(); ++c) {
    if (!(variance[c] + epsilon > 0)) {
      node.fail(
          fmt::format("variance {} of channel {} plus epsilon {} is not positive", variance[c], c, epsilon));
    }
    factor[c] = scale[c] / std::sqrt(variance[c] + epsilon);
    shift[c] = offset[c] - mean[c] * factor[c];
  }
  AffineOp affine{make_vector(factor), make_vector(shift)};
  source.value = importer.emit(node, std::move(affine), {source.value}, node.output(), shape);
  importer.bind(node, std::move(source));
}

namespace {

bool concat_constants(Importer& importer, const NodeView& node) {
  std::vector<const Constant*> sources;
  for (int i = 0; i < node.input_count(); ++i) {
    if (!importer.is_constant(node, i)) return false;
    sources.push_back(&importer.constant(node, i));
  }
  const auto rank = static_cast<int64_t>(sources[0]->shape.size());
  const int64_t axis = normal_axis(node, node.integer("axis", 1), rank);
  importer.bind(node, fold_concat(node, sources, axis, importer.budget()));
  return true;
}

std::vector<ChannelTerm> terms_of(const Activation& activation, int64_t channels) {
  if (activation.is_selection) return activation.terms;
  std::vector<ChannelTerm> terms;
  for (int64_t channel = 0; channel < channels; ++channel) terms.push_back({channel, 1, 0});
  return terms;
}

/// Channels picked from one value and joined again are one selection (torchvision's transform_input).
bool concat_selections(Importer& importer, const NodeView& node, int64_t axis) {
  Activation joined = importer.activation(node, 0);
  bool has_selection = false;
  for (int i = 0; i < node.input_count(); ++i) {
    const Activation& part = importer.activation(node, i);
    if (part.value != joined.value || part.axes != joined.axes) return false;
    has_selection = has_selection || part.is_selection;
  }
  if (!has_selection || joined.axes[static_cast<size_t>(axis)] != 1) return false;

  std::vector<ChannelTerm> terms;
  for (int i = 0; i < node.input_count(); ++i) {
    const Activation& part = importer.activation(node, i);
    if (part.lrn) return false;
    const std::vector<ChannelTerm> more = terms_of(part, importer.shape(part.value)[1]);
    importer.budget().spend(static_cast<int64_t>(more.size()), static_cast<int64_t>(sizeof(ChannelTerm)),
                            node.where());
    terms.insert(terms.end(), more.begin(), more.end());
  }
  joined.is_selection = true;
  joined.terms = std::move(terms);
  importer.bind(node, importer.materialise(node, joined, node.output()));
  return true;
}

/// The joined shape; throws unless everything but the channels agrees as far as it is known.
Shape joined_shape(Importer& importer, const NodeView& node, const std::vector<Activation>& parts) {
  Shape joined = importer.shape(parts[0].value);
  for (size_t i = 1; i < parts.size(); ++i) {
    const Shape& more = importer.shape(parts[i].value);
    bool fits = more.size() == joined.size() && parts[i].axes == parts[0].axes;
    for (size_t axis = 2; fits && axis < joined.size(); ++axis) {
      if (joined[axis] == kDynamic) joined[axis] = more[axis];
      fits = more[axis] == kDynamic || more[axis] == joined[axis];
    }
    if (!fits) {
      node.fail(fmt::format("shapes {} and {} cannot be joined along channels",
                            to_string(importer.extents(parts[0])), to_string(importer.extents(parts[i]))));
    }
    joined[1] = joined[1] == kDynamic || more[1] == kDynamic ? kDynamic : joined[1] + more[1];
  }
  if (joined[1] > kMaxExtent)
    node.fail(fmt::format("joins to the absurd shape {}", branchsae::to_string(joined)));
  return joined;
}

}  // namespace

void read_concat(Importer& importer, const NodeView& node) {
  if (node.input_count() == 0) node.fail("has no input");
  if (concat_constants(importer, node)) return;
  const int64_t axis = normal_axis(node, node.integer("axis", 1), importer.activation(node, 0).rank());
  if (concat_selections(importer, node, axis)) return;

  std::vector<Activation> parts;
  std::vector<ValueId> inputs;
  for (int i = 0; i < node.input_count(); ++i) {
    parts.push_back(importer.elementwise_input(node, i));
    inputs.push_back(parts.back().value);
  }
  Activation joined = parts[0];
  if (joined.axes[static_cast<size_t>(axis)] != 1) {
    node.fail(fmt::format("axis {} of shape {} is not that of the channels, which alone can be joined", axis,
                          to_string(importer.extents(joined))));
  }
  const Shape shape = joined_shape(importer, node, parts);
  if (inputs.size() > 1) joined.value = importer.emit(node, ConcatOp{}, inputs, node.output(), shape);
  importer.bind(node, std::move(joined));
}

}  // namespace branchsae::loader
