// Operators that only change how a tensor is seen: Identity, Dropout, Flatten, Reshape, Transpose, Squeeze.
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <span>

#include "loader/onnx_fold.h"
#include "loader/onnx_readers.h"

namespace branchsae::loader {

namespace {

void bind_same(Importer& importer, const NodeView& node) {
  if (importer.is_constant(node, 0)) {
    importer.bind(node, importer.constant(node, 0));
  } else {
    importer.bind(node, importer.activation(node, 0));
  }
}

/// Product of extents; unset when one is unknown or the product leaves 2^62.
std::optional<int64_t> known_product(std::span<const Extent> extents) {
  int64_t product = 1;
  for (const Extent& extent : extents) {
    if (!extent.is_known() || __builtin_mul_overflow(product, extent.value, &product)) return std::nullopt;
  }
  return product;
}

/// axes or shape lists: an attribute in older operator sets, an input in newer ones.
std::vector<int64_t> axes_of(Importer& importer, const NodeView& node) {
  return node.has_input(1) ? importer.integer_list(node, 1, "axes") : node.integers("axes");
}

/// Flattens a value [N, C, H, W] to [N, C*H*W].
void flatten(Importer& importer, const NodeView& node, const Activation& source) {
  const std::vector<Extent> extents = importer.extents(source);
  // Rows of one pixel have the same order whatever the axes' order; else only NCHW is what FlattenOp means.
  const auto axis_is_one = [&](size_t i) { return source.axes[i] <= 1 || extents[i].is_known(1); };
  bool is_single_pixel = true;
  for (size_t i = 0; i < extents.size(); ++i) is_single_pixel = is_single_pixel && axis_is_one(i);
  if (is_single_pixel && source.axes[0] == 0) {
    Activation view = source;
    view.axes = {0, 1};
    importer.bind_view(node, std::move(view));
    return;
  }
  if (source.axes != std::vector<int>{0, 1, 2, 3}) {
    node.fail(
        fmt::format("flattens shape {} whose axes are not in the order [N, C, H, W], which is not supported",
                    to_string(extents)));
  }
  const auto features = known_product(std::span(extents).subspan(1));
  importer.emit_output(node, FlattenOp{}, {source.value}, {kDynamic, features.value_or(kDynamic)});
}

}  // namespace

void read_identity(Importer& importer, const NodeView& node) {
  bind_same(importer, node);
}

/// For inference a copy. Like ONNX Runtime, is_test = 0 of operator set 6 is not taken for training.
void read_dropout(Importer& importer, const NodeView& node) {
  if (node.has_input(2)) {  // training_mode, since operator set 12
    const Constant& training = importer.constant(node, 2);
    const bool is_set = training.is_integral() && training.size() == 1 && !training.integers[0].is_known(0);
    if (is_set) node.fail("training_mode is set; export the network for inference");
  }
  if (importer.is_output_used(node, 1)) node.fail("the mask (second output) is not supported");
  bind_same(importer, node);
}

void read_flatten(Importer& importer, const NodeView& node) {
  if (importer.is_constant(node, 0)) {
    const Constant& source = importer.constant(node, 0);
    const auto rank = static_cast<int64_t>(source.shape.size());
    const int64_t axis =
        node.integer("axis", 1) == rank ? rank : normal_axis(node, node.integer("axis", 1), rank);
    const std::span<const int64_t> shape(source.shape);
    const int64_t rows = checked_count({shape.begin(), shape.begin() + axis}, node.where());
    const int64_t columns = checked_count({shape.begin() + axis, shape.end()}, node.where());
    importer.bind(node, fold_reshape(node, source, {rows, columns}, importer.budget()));
    return;
  }
  const Activation source = importer.elementwise_input(node, 0);
  const int64_t axis = normal_axis(node, node.integer("axis", 1), source.rank());
  if (axis != 1) {
    node.fail(fmt::format("axis {} of shape {} is not supported; images must stay apart, so only axis 1 is",
                          axis, to_string(importer.extents(source))));
  }
  if (source.axes == std::vector<int>{0, 1} && importer.shape(source.value).size() == 2) {
    importer.bind(node, source);
  } else {
    flatten(importer, node, source);
  }
}

void read_transpose(Importer& importer, const NodeView& node) {
  const bool is_constant = importer.is_constant(node, 0);
  const auto rank = static_cast<int64_t>(is_constant ? importer.constant(node, 0).shape.size()
                                                     : importer.activation(node, 0).axes.size());
  std::vector<int64_t> order = node.integers("perm");
  if (!node.has("perm")) {
    for (int64_t axis = rank; axis-- > 0;) order.push_back(axis);
  }
  const bool is_negative = std::ranges::any_of(order, [](int64_t axis) { return axis < 0; });
  if (static_cast<int64_t>(order.size()) != rank || is_negative) {
    node.fail(fmt::format("perm {} does not order a tensor of rank {}", branchsae::to_string(order), rank));
  }
  order = normal_axes(node, std::move(order), rank);
  if (is_constant) {
    importer.bind(node, fold_transpose(node, importer.constant(node, 0), order, importer.budget()));
    return;
  }
  const Activation& source = importer.activation(node, 0);
  Activation turned = source;
  for (size_t i = 0; i < order.size(); ++i) turned.axes[i] = source.axes[static_cast<size_t>(order[i])];
  importer.bind_view(node, std::move(turned));
}

void read_squeeze(Importer& importer, const NodeView& node) {
  const bool is_constant = importer.is_constant(node, 0);
  std::vector<Extent> extents;
  if (is_constant) {
    std::ranges::transform(importer.constant(node, 0).shape, std::back_inserter(extents), Extent::known);
  } else {
    extents = importer.extents(importer.activation(node, 0));
  }
  std::vector<int64_t> axes = axes_of(importer, node);
  const bool all_ones = !node.has_input(1) && !node.has("axes");
  for (size_t i = 0; all_ones && i < extents.size(); ++i) {
    if (extents[i].is_known(1)) axes.push_back(static_cast<int64_t>(i));
  }
  axes = normal_axes(node, std::move(axes), static_cast<int64_t>(extents.size()));
  std::vector<bool> is_dropped(extents.size(), false);
  for (const int64_t axis : axes) {
    const auto at = static_cast<size_t>(axis);
    if (!extents[at].is_known(1)) {
      node.fail(fmt::format("axis {} of shape {} is not of extent 1", axis, to_string(extents)));
    }
    is_dropped[at] = true;
  }
  Shape shape;
  Activation view;
  if (!is_constant)
    view = importer.is_lrn_denominator(node, 0) ? importer.activation(node, 0)
                                                : importer.elementwise_input(node, 0);
  std::vector<int> kept;
  for (size_t i = 0; i < extents.size(); ++i) {
    if (is_dropped[i]) continue;
    shape.push_back(extents[i].value);
    if (!is_constant) kept.push_back(view.axes[i]);
  }
  if (is_constant) {
    importer.bind(node, fold_reshape(node, importer.constant(node, 0), shape, importer.budget()));
  } else {
    view.axes = kept;
    importer.bind_view(node, std::move(view));
  }
}

void read_unsqueeze(Importer& importer, const NodeView& node) {
  const bool is_constant = importer.is_constant(node, 0);
  std::vector<int64_t> axes = axes_of(importer, node);
  const size_t old_rank =
      is_constant ? importer.constant(node, 0).shape.size() : importer.activation(node, 0).axes.size();
  const size_t rank = old_rank + axes.size();
  axes = normal_axes(node, std::move(axes), static_cast<int64_t>(rank));
  std::vector<bool> is_added(rank, false);
  for (const int64_t axis : axes) is_added[static_cast<size_t>(axis)] = true;
  if (is_constant) {
    const Constant& source = importer.constant(node, 0);
    Shape shape;
    size_t next = 0;
    for (size_t i = 0; i < rank; ++i) shape.push_back(is_added[i] ? 1 : source.shape[next++]);
    importer.bind(node, fold_reshape(node, source, shape, importer.budget()));
    return;
  }
  const Activation& source = importer.activation(node, 0);
  Activation view = source;
  view.axes.clear();
  size_t next = 0;
  for (size_t i = 0; i < rank; ++i) view.axes.push_back(is_added[i] ? kAddedAxis : source.axes[next++]);
  importer.bind_view(node, std::move(view));
}

// ---- Reshape

namespace {

/// Product of `all` over product of `some`; unknown unless it is a whole number or one symbol.
Extent quotient(const std::vector<Extent>& all, std::vector<Extent> some) {
  int64_t product = 1, divisor = 1;
  std::vector<Extent> symbols;
  for (const Extent& extent : all) {
    if (extent.kind == Extent::Kind::kUnknown) return Extent::unknown();
    if (extent.is_known()) {
      if (__builtin_mul_overflow(product, extent.value, &product)) return Extent::unknown();
    } else if (const auto same = std::ranges::find(some, extent); same != some.end()) {
      some.erase(same);
    } else {
      symbols.push_back(extent);
    }
  }
  for (const Extent& extent : some) {
    if (!extent.is_known() || __builtin_mul_overflow(divisor, extent.value, &divisor))
      return Extent::unknown();
  }
  if (divisor == 0 || product % divisor != 0) return Extent::unknown();
  if (symbols.empty()) return Extent::known(product / divisor);
  return symbols.size() == 1 && product == divisor ? symbols[0] : Extent::unknown();
}

/// The target of a Reshape with 0 (copy), the declared batch and, where it can be told, -1 filled in.
std::vector<Extent> resolve_target(Importer& importer, const NodeView& node, std::vector<Extent> target,
                                   const std::vector<Extent>& source) {
  const bool copies_zeros = node.integer("allowzero", 0) == 0;
  size_t inferred = target.size();
  for (size_t i = 0; i < target.size(); ++i) {
    if (copies_zeros && target[i].is_known(0)) {
      if (i >= source.size()) node.fail(fmt::format("target {} copies a missing axis", to_string(target)));
      target[i] = source[i];
    } else if (target[i].is_known(-1)) {
      if (inferred != target.size()) node.fail(fmt::format("target {} has two -1", to_string(target)));
      inferred = i;
    } else if (target[i].is_known() && target[i].value < 0) {
      node.fail(fmt::format("target {} has a negative extent", to_string(target)));
    }
  }
  // A file made for one batch size says that number where it means the batch.
  if (!target.empty() && !source.empty() && source[0].is_batch() && target[0].is_known() &&
      target[0].value == importer.declared_batch()) {
    target[0] = Extent::batch();
  }
  if (inferred == target.size()) return target;

  std::vector<Extent> others = target;
  others.erase(others.begin() + static_cast<long>(inferred));
  target[inferred] = quotient(source, others);
  // Where H x W is open, what is left of [-1, features] can only be the batch.
  const bool is_rows =
      inferred == 0 && target.size() == 2 && !source.empty() && !known_product(std::span(source).subspan(1));
  if (is_rows && target[inferred] == Extent::unknown()) target[inferred] = Extent::batch();
  return target;
}

/// The source's axes under a target that only leaves out or adds axes of extent 1; unset when it does more.
/// With `guesses`, a size that cannot be computed is taken for the open one in its place.
std::optional<std::vector<int>> matching_axes(const Activation& source, const std::vector<Extent>& extents,
                                              const std::vector<Extent>& target, bool guesses) {
  const auto matches = [&](const Extent& extent, const Extent& wanted) {
    if (wanted.kind == Extent::Kind::kUnknown) return guesses && extent.kind == Extent::Kind::kOpen;
    return extent == wanted;
  };
  std::vector<int> axes;
  size_t next = 0;
  for (const Extent& wanted : target) {
    const bool is_one = wanted.is_known(1);
    while (!is_one && next < extents.size() && extents[next].is_known(1)) ++next;  // left out
    if (next < extents.size() && matches(extents[next], wanted)) {
      axes.push_back(source.axes[next++]);
    } else if (is_one) {
      axes.push_back(kAddedAxis);
    } else {
      return std::nullopt;
    }
  }
  for (; next < extents.size(); ++next) {
    if (!extents[next].is_known(1)) return std::nullopt;
  }
  return axes;
}

bool is_flattening(const std::vector<Extent>& extents, const std::vector<Extent>& target) {
  if (target.size() != 2 || !target[0].is_batch() || extents.empty() || !extents[0].is_batch()) return false;
  const auto features = known_product(std::span(extents).subspan(1));
  return !features || !target[1].is_known() || target[1].value == *features;
}

Shape constant_target(const NodeView& node, const Constant& source, const std::vector<Extent>& wanted) {
  Shape shape;
  int64_t inferred = -1;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (!wanted[i].is_known()) node.fail("a constant is reshaped to a size that only the run knows");
    int64_t extent = wanted[i].value;
    if (extent == 0 && node.integer("allowzero", 0) == 0 && i < source.shape.size()) extent = source.shape[i];
    if (extent == -1 && inferred < 0) {
      inferred = static_cast<int64_t>(i);
      extent = 1;
    }
    shape.push_back(extent);
  }
  if (inferred >= 0) {
    const int64_t others = checked_count(shape, node.where());
    if (others > 0) shape[static_cast<size_t>(inferred)] = source.size() / others;
  }
  return shape;
}

}  // namespace

void read_reshape(Importer& importer, const NodeView& node) {
  const Constant& wanted = importer.constant(node, 1);
  if (!wanted.is_integral() || wanted.shape.size() != 1) node.fail("the target is not a list of integers");
  if (importer.is_constant(node, 0)) {
    const Constant& source = importer.constant(node, 0);
    importer.bind(
        node, fold_reshape(node, source, constant_target(node, source, wanted.integers), importer.budget()));
    return;
  }
  Activation source = importer.activation(node, 0);
  const bool stays_pending = source.lrn && (!source.lrn->is_square() || wanted.size() == 5);
  if (!stays_pending) source = importer.elementwise_input(node, 0);
  const std::vector<Extent> extents = importer.extents(source);
  const std::vector<Extent> target = resolve_target(importer, node, wanted.integers, extents);
  // PyTorch's way to LRN reshapes there and back; the division at its end checks that the axes are the same.
  if (target == extents && std::ranges::find(target, Extent::unknown()) == target.end()) {
    importer.bind(node, std::move(source));
  } else if (auto axes = matching_axes(source, extents, target, stays_pending)) {
    source.axes = std::move(*axes);
    importer.bind_view(node, std::move(source));
  } else if (source.is_plain() && is_flattening(extents, target)) {
    flatten(importer, node, source);
  } else {
    node.fail(fmt::format(
        "from shape {} to {} is not supported; only flattening to [N, features] and axes of extent "
        "1 are",
        to_string(extents), to_string(wanted.integers)));
  }
}

}  // namespace branchsae::loader
