// Gather and Slice: of constants, and of channels.
#include <fmt/format.h>

#include <limits>

#include "loader/onnx_fold.h"
#include "loader/onnx_readers.h"

namespace branchsae::loader {

namespace {

/// The channels of an activation as terms, to pick from.
std::vector<ChannelTerm> all_terms(Importer& importer, const NodeView& node, const Activation& source) {
  if (source.is_selection) return source.terms;
  if (source.lrn) node.fail("picks channels inside a local response normalisation");
  const int64_t channels = importer.shape(source.value).at(1);
  if (channels == kDynamic) node.fail("picks from channels whose number only the run knows");
  importer.budget().spend(channels, static_cast<int64_t>(sizeof(ChannelTerm)), node.where());
  std::vector<ChannelTerm> terms;
  for (int64_t channel = 0; channel < channels; ++channel) terms.push_back({channel, 1, 0});
  return terms;
}

void fail_unless_channels(Importer& importer, const NodeView& node, const Activation& source, int64_t axis) {
  if (source.axes[static_cast<size_t>(axis)] == 1) return;
  node.fail(fmt::format("along axis {} of shape {} is not supported; only channels can be picked", axis,
                        to_string(importer.extents(source))));
}

void gather_channels(Importer& importer, const NodeView& node, const Constant& indices, int64_t axis) {
  Activation picked = importer.activation(node, 0);
  fail_unless_channels(importer, node, picked, axis);
  const std::vector<ChannelTerm> terms = all_terms(importer, node, picked);
  const auto channels = static_cast<int64_t>(terms.size());
  picked.is_selection = true;
  picked.terms.clear();
  for (const Extent& index : indices.integers) {
    if (!index.is_known() || index.value < -channels || index.value >= channels) {
      node.fail(fmt::format("index {} is outside {} channels", to_string({index}), channels));
    }
    picked.terms.push_back(
        terms[static_cast<size_t>(index.value < 0 ? index.value + channels : index.value)]);
  }
  if (picked.terms.empty()) node.fail("picks no channel");
  if (indices.shape.empty()) picked.axes.erase(picked.axes.begin() + axis);
  importer.bind(node, std::move(picked));
}

struct SliceList {
  std::vector<int64_t> starts, ends, axes, steps;
};

/// Inputs since operator set 10, attributes before.
SliceList slice_list(Importer& importer, const NodeView& node, int64_t rank) {
  SliceList list;
  const bool by_input = node.input_count() > 1;
  list.starts = by_input ? importer.integer_list(node, 1, "starts") : node.integers("starts");
  list.ends = by_input ? importer.integer_list(node, 2, "ends") : node.integers("ends");
  const bool has_axes = by_input ? node.has_input(3) : node.has("axes");
  if (has_axes) list.axes = by_input ? importer.integer_list(node, 3, "axes") : node.integers("axes");
  if (node.has_input(4)) list.steps = importer.integer_list(node, 4, "steps");
  for (size_t i = 0; !has_axes && i < list.starts.size(); ++i) list.axes.push_back(static_cast<int64_t>(i));
  if (list.steps.empty()) list.steps.assign(list.starts.size(), 1);
  const size_t count = list.starts.size();
  if (list.ends.size() != count || list.axes.size() != count || list.steps.size() != count) {
    node.fail(fmt::format("{} starts, {} ends, {} axes and {} steps do not fit together", count,
                          list.ends.size(), list.axes.size(), list.steps.size()));
  }
  list.axes = normal_axes(node, std::move(list.axes), rank);
  for (const int64_t step : list.steps) {
    if (step == 0) node.fail("a step is 0");
  }
  return list;
}

void slice_constant(Importer& importer, const NodeView& node) {
  const Constant& source = importer.constant(node, 0);
  std::vector<SliceRange> ranges;
  for (const int64_t extent : source.shape) ranges.push_back({0, 1, extent});
  const SliceList list = slice_list(importer, node, static_cast<int64_t>(source.shape.size()));
  for (size_t i = 0; i < list.axes.size(); ++i) {
    const auto axis = static_cast<size_t>(list.axes[i]);
    ranges[axis] = slice_range(list.starts[i], list.ends[i], list.steps[i], source.shape[axis]);
  }
  importer.bind(node, fold_slice(node, source, ranges, importer.budget()));
}

/// True when the slice takes all of an axis whose extent may be unknown.
bool takes_all(const Extent& extent, int64_t start, int64_t end, int64_t step) {
  if (step != 1 || extent.kind == Extent::Kind::kKnown) {
    return extent.is_known() && step == 1 && slice_range(start, end, 1, extent.value).count == extent.value;
  }
  return start == 0 && end >= std::numeric_limits<int32_t>::max();  // how exporters write "to the end"
}

}  // namespace

void read_gather(Importer& importer, const NodeView& node) {
  const Constant& indices = importer.constant(node, 1);
  if (!indices.is_integral()) node.fail("the indices are not integers");
  const bool is_constant = importer.is_constant(node, 0);
  const auto rank = static_cast<int64_t>(is_constant ? importer.constant(node, 0).shape.size()
                                                     : importer.activation(node, 0).axes.size());
  const int64_t axis = normal_axis(node, node.integer("axis", 0), rank);
  if (is_constant) {
    importer.bind(node, fold_gather(node, importer.constant(node, 0), indices, axis, importer.budget()));
    return;
  }
  if (indices.shape.size() > 1) node.fail("indices of more than one axis are not supported");
  gather_channels(importer, node, indices, axis);
}

void read_slice(Importer& importer, const NodeView& node) {
  if (importer.is_constant(node, 0)) {
    slice_constant(importer, node);
    return;
  }
  Activation picked = importer.activation(node, 0);
  const std::vector<Extent> extents = importer.extents(picked);
  const SliceList list = slice_list(importer, node, picked.rank());
  for (size_t i = 0; i < list.axes.size(); ++i) {
    const auto axis = static_cast<size_t>(list.axes[i]);
    if (takes_all(extents[axis], list.starts[i], list.ends[i], list.steps[i])) continue;
    fail_unless_channels(importer, node, picked, list.axes[i]);
    const std::vector<ChannelTerm> terms = all_terms(importer, node, picked);
    const SliceRange range =
        slice_range(list.starts[i], list.ends[i], list.steps[i], static_cast<int64_t>(terms.size()));
    if (range.count == 0) node.fail("picks no channel");
    picked.is_selection = true;
    picked.terms.clear();
    for (int64_t k = 0; k < range.count; ++k) {
      picked.terms.push_back(terms[static_cast<size_t>(range.begin + k * range.step)]);
    }
  }
  importer.bind(node, std::move(picked));
}

}  // namespace branchsae::loader
