// Activations that are views: axes in another order, axes of extent 1 left out or added, channels picked.
#include <fmt/format.h>

#include <algorithm>

#include "loader/onnx_import.h"

namespace branchsae::loader {

namespace {

/// Gives added axes the places of missing logical ones, lowest first; both have extent 1.
void fill_missing_axes(std::vector<int>& axes, size_t logical_rank) {
  for (int& axis : axes) {
    if (axis != kAddedAxis) continue;
    for (int candidate = 1; candidate < static_cast<int>(logical_rank); ++candidate) {
      if (std::ranges::find(axes, candidate) == axes.end()) {
        axis = candidate;
        break;
      }
    }
  }
}

bool is_one_by_one(const Shape& shape) {
  return shape.size() == 4 && shape[2] == 1 && shape[3] == 1;
}

bool is_every_channel(const std::vector<ChannelTerm>& terms, int64_t channels) {
  if (static_cast<int64_t>(terms.size()) != channels) return false;
  for (size_t i = 0; i < terms.size(); ++i) {
    if (terms[i].channel != static_cast<int64_t>(i)) return false;
  }
  return true;
}

bool is_unscaled(const std::vector<ChannelTerm>& terms) {
  return std::ranges::all_of(terms,
                             [](const ChannelTerm& term) { return term.scale == 1 && term.shift == 0; });
}

ConstTensor shifts_of(const std::vector<ChannelTerm>& terms) {
  std::vector<double> shifts;
  for (const ChannelTerm& term : terms) shifts.push_back(term.shift);
  return make_vector(shifts);
}

AffineOp affine_of(const std::vector<ChannelTerm>& terms) {
  std::vector<double> scales;
  for (const ChannelTerm& term : terms) scales.push_back(term.scale);
  return {make_vector(scales), shifts_of(terms)};
}

/// A matrix that picks and scales: [O, I] with one entry a row.
ConstTensor picking_weight(const std::vector<ChannelTerm>& terms, int64_t channels, const Shape& shape) {
  auto weight = std::make_shared<HostTensor>(shape);
  for (size_t row = 0; row < terms.size(); ++row) {
    (*weight)[static_cast<int64_t>(row) * channels + terms[row].channel] =
        static_cast<float>(terms[row].scale);
  }
  return weight;
}

}  // namespace

void Importer::bind_view(const NodeView& node, Activation activation) {
  const bool adds = std::ranges::find(activation.axes, kAddedAxis) != activation.axes.end();
  if (adds && shape(activation.value).size() == 2 && activation.rank() == 4) {
    // A Flatten that is undone: go back to what it flattened.
    if (const auto source = flatten_source_.find(activation.value); source != flatten_source_.end()) {
      activation.value = source->second;
    }
  }
  if (adds) fill_missing_axes(activation.axes, shape(activation.value).size());

  const Shape& logical = shape(activation.value);
  if (activation.is_plain() && activation.axes == std::vector<int>{0, 1} && is_one_by_one(logical)) {
    const ValueId source = activation.value;
    emit_output(node, FlattenOp{}, {source}, {kDynamic, logical[1]});
    flatten_source_.emplace(static_cast<ValueId>(graph_.values.size() - 1), source);
    return;
  }
  bind(node, std::move(activation));
}

Activation Importer::materialise(const NodeView& node, const Activation& pending, const std::string& name) {
  Activation made = pending;
  made.is_selection = false;
  made.terms.clear();
  made.lrn.reset();
  const std::vector<ChannelTerm>& terms = pending.terms;
  Shape shape = this->shape(pending.value);
  if (pending.lrn) {
    if (!pending.lrn->is_square()) {
      node.fail(fmt::format("'{}' is part of a local response normalisation and cannot be had outside it",
                            printable(name)));
    }
    const BinaryOp product{BinaryOp::Kind::kMul};
    made.value = emit(node, product, {pending.value, pending.value}, name, shape);
    return made;
  }
  const int64_t channels = shape[1];
  if (is_every_channel(terms, channels)) {
    if (is_unscaled(terms)) {
      graph_.aliases.emplace(name, pending.value);
    } else {
      made.value = emit(node, affine_of(terms), {pending.value}, name, shape);
    }
    return made;
  }
  const auto outputs = static_cast<int64_t>(terms.size());
  budget_.spend(outputs * channels, 4, node.where() + ": picking channels");
  shape[1] = outputs;
  if (shape.size() == 2) {
    LinearOp linear{picking_weight(terms, channels, {outputs, channels}), shifts_of(terms)};
    made.value = emit(node, std::move(linear), {pending.value}, name, shape);
  } else {
    ConvOp conv;
    conv.weight = picking_weight(terms, channels, {outputs, channels, 1, 1});
    conv.bias = shifts_of(terms);
    made.value = emit(node, std::move(conv), {pending.value}, name, shape);
  }
  return made;
}

}  // namespace branchsae::loader
