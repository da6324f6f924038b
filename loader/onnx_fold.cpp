#include "loader/onnx_fold.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace branchsae::loader {

namespace {

int64_t count_of(const NodeView& node, const Shape& shape) {
  return checked_count(shape, node.where() + ": the result");
}

Shape strides_of(const Shape& shape) {
  Shape strides(shape.size(), 1);
  for (size_t axis = shape.size(); axis-- > 1;) strides[axis - 1] = strides[axis] * shape[axis];
  return strides;
}

/// Visits every index of `shape` in row-major order with the offset that `strides` give it.
template <class Visit>
void for_each_offset(const Shape& shape, const Shape& strides, int64_t offset, int64_t count, Visit&& visit) {
  Shape index(shape.size(), 0);
  for (int64_t i = 0; i < count; ++i) {
    visit(i, offset);
    for (size_t axis = shape.size(); axis-- > 0;) {
      offset += strides[axis];
      if (++index[axis] < shape[axis]) break;
      offset -= strides[axis] * shape[axis];
      index[axis] = 0;
    }
  }
}

/// An empty constant of the source's kind; `floats` is set through the returned pointer.
Constant make_like(const NodeView& node, const Constant& source, Shape shape, MemoryBudget& budget,
                   HostTensor*& floats) {
  const int64_t count = count_of(node, shape);
  budget.spend(count, source.is_integral() ? static_cast<int64_t>(sizeof(Extent)) : 4,
               node.where() + ": the result");
  Constant result;
  result.shape = std::move(shape);
  floats = nullptr;
  if (source.is_integral()) {
    result.integers.resize(static_cast<size_t>(count));
  } else {
    auto tensor = std::make_shared<HostTensor>(result.shape);
    floats = tensor.get();
    result.floats = std::move(tensor);
  }
  return result;
}

/// result[i] = source[offset of i], offsets running with `strides` over the result's shape.
Constant pick(const NodeView& node, const Constant& source, Shape shape, const Shape& strides, int64_t offset,
              MemoryBudget& budget) {
  HostTensor* floats = nullptr;
  Constant result = make_like(node, source, std::move(shape), budget, floats);
  for_each_offset(result.shape, strides, offset, result.size(), [&](int64_t to, int64_t from) {
    if (floats != nullptr) {
      (*floats)[to] = (*source.floats)[from];
    } else {
      result.integers[static_cast<size_t>(to)] = source.integers[static_cast<size_t>(from)];
    }
  });
  return result;
}

void copy_run(const Constant& source, int64_t from, int64_t count, Constant& result, HostTensor* floats,
              int64_t to) {
  if (floats != nullptr) {
    std::copy_n(source.floats->data() + from, count, floats->data() + to);
  } else {
    std::copy_n(source.integers.begin() + from, count, result.integers.begin() + to);
  }
}

int64_t product(std::span<const int64_t> extents) {
  int64_t result = 1;
  for (const int64_t extent : extents) result *= extent;
  return result;
}

// ---- arithmetic

Shape broadcast_shape(const NodeView& node, const Shape& a, const Shape& b) {
  const size_t rank = std::max(a.size(), b.size());
  Shape shape(rank, 1);
  for (size_t i = 0; i < rank; ++i) {
    const int64_t da = i < a.size() ? a[a.size() - 1 - i] : 1;
    const int64_t db = i < b.size() ? b[b.size() - 1 - i] : 1;
    if (da != db && da != 1 && db != 1) {
      node.fail(fmt::format("shapes {} and {} do not fit together", branchsae::to_string(a),
                            branchsae::to_string(b)));
    }
    shape[rank - 1 - i] = da == 1 ? db : da;
  }
  return shape;
}

/// Strides of `source` over a broadcast result: 0 where it repeats.
Shape broadcast_strides(const Shape& source, const Shape& result) {
  const Shape strides = strides_of(source);
  Shape aligned(result.size(), 0);
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != 1) aligned[result.size() - source.size() + i] = strides[i];
  }
  return aligned;
}

float apply(Arithmetic kind, float a, float b) {
  switch (kind) {
    case Arithmetic::kAdd:
      return a + b;
    case Arithmetic::kSub:
      return a - b;
    case Arithmetic::kMul:
      return a * b;
    case Arithmetic::kDiv:
      return a / b;
  }
  return 0;
}

int64_t apply(const NodeView& node, Arithmetic kind, int64_t a, int64_t b) {
  int64_t result = 0;
  bool overflow = false;
  switch (kind) {
    case Arithmetic::kAdd:
      overflow = __builtin_add_overflow(a, b, &result);
      break;
    case Arithmetic::kSub:
      overflow = __builtin_sub_overflow(a, b, &result);
      break;
    case Arithmetic::kMul:
      overflow = __builtin_mul_overflow(a, b, &result);
      break;
    case Arithmetic::kDiv:
      if (b == 0) node.fail("integer division by zero");
      overflow = a == std::numeric_limits<int64_t>::min() && b == -1;
      if (!overflow) result = a / b;
      break;
  }
  if (overflow) node.fail(fmt::format("integer arithmetic on {} and {} overflows", a, b));
  return result;
}

Extent apply(const NodeView& node, Arithmetic kind, const Extent& a, const Extent& b) {
  if (a.is_known() && b.is_known()) return Extent::known(apply(node, kind, a.value, b.value));
  const bool multiplies = kind == Arithmetic::kMul;
  const bool adds = kind == Arithmetic::kAdd;
  const int64_t neutral = multiplies || kind == Arithmetic::kDiv ? 1 : 0;
  if (a.is_symbol() && b.is_known(neutral)) return a;
  if (b.is_symbol() && a.is_known(neutral) && (multiplies || adds)) return b;
  return Extent::unknown();
}

}  // namespace

int64_t normal_axis(const NodeView& node, int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank)
    node.fail(fmt::format("axis {} does not exist in a tensor of rank {}", axis, rank));
  return axis < 0 ? axis + rank : axis;
}

std::vector<int64_t> normal_axes(const NodeView& node, std::vector<int64_t> axes, int64_t rank) {
  for (int64_t& axis : axes) axis = normal_axis(node, axis, rank);
  std::vector<int64_t> sorted = axes;
  std::ranges::sort(sorted);
  if (std::ranges::adjacent_find(sorted) != sorted.end()) {
    node.fail(fmt::format("axes {} name one axis twice", branchsae::to_string(axes)));
  }
  return axes;
}

SliceRange slice_range(int64_t start, int64_t end, int64_t step, int64_t extent) {
  const auto from_end = [extent](int64_t position) { return position < 0 ? position + extent : position; };
  if (step > 0) {
    const int64_t first = std::clamp<int64_t>(from_end(start), 0, extent);
    const int64_t last = std::clamp<int64_t>(from_end(end), 0, extent);
    return {first, step, last > first ? (last - first - 1) / step + 1 : 0};
  }
  const int64_t first = std::clamp<int64_t>(from_end(start), -1, extent - 1);
  const int64_t last = std::clamp<int64_t>(from_end(end), -1, extent - 1);
  if (last >= first) return {first, step, 0};
  // -step overflows for the most negative step, which takes one element.
  const bool is_huge = step == std::numeric_limits<int64_t>::min();
  return {first, is_huge ? -extent : step, is_huge ? 1 : (first - last - 1) / -step + 1};
}

Constant fold_reshape(const NodeView& node, const Constant& source, Shape shape, MemoryBudget& budget) {
  if (count_of(node, shape) != source.size()) {
    node.fail(fmt::format("a constant of shape {} cannot be reshaped to {}",
                          branchsae::to_string(source.shape), branchsae::to_string(shape)));
  }
  HostTensor* floats = nullptr;
  Constant result = make_like(node, source, std::move(shape), budget, floats);
  copy_run(source, 0, source.size(), result, floats, 0);
  return result;
}

Constant fold_transpose(const NodeView& node, const Constant& source, std::span<const int64_t> order,
                        MemoryBudget& budget) {
  const Shape source_strides = strides_of(source.shape);
  Shape shape, strides;
  for (const int64_t axis : order) {
    shape.push_back(source.shape[static_cast<size_t>(axis)]);
    strides.push_back(source_strides[static_cast<size_t>(axis)]);
  }
  return pick(node, source, std::move(shape), strides, 0, budget);
}

Constant fold_gather(const NodeView& node, const Constant& source, const Constant& indices, int64_t axis,
                     MemoryBudget& budget) {
  const auto at = static_cast<size_t>(axis);
  const int64_t extent = source.shape[at];
  const std::span<const int64_t> all(source.shape);
  const int64_t outer = product(all.first(at)), inner = product(all.subspan(at + 1));
  Shape shape(source.shape.begin(), source.shape.begin() + axis);
  shape.insert(shape.end(), indices.shape.begin(), indices.shape.end());
  shape.insert(shape.end(), source.shape.begin() + axis + 1, source.shape.end());

  HostTensor* floats = nullptr;
  Constant result = make_like(node, source, std::move(shape), budget, floats);
  if (result.size() == 0) return result;
  int64_t to = 0;
  for (int64_t o = 0; o < outer; ++o) {
    for (const Extent& index : indices.integers) {
      if (!index.is_known() || index.value < -extent || index.value >= extent) {
        node.fail(fmt::format("index {} is outside an axis of {} elements", to_string({index}), extent));
      }
      const int64_t position = index.value < 0 ? index.value + extent : index.value;
      copy_run(source, (o * extent + position) * inner, inner, result, floats, to);
      to += inner;
    }
  }
  return result;
}

Constant fold_slice(const NodeView& node, const Constant& source, std::span<const SliceRange> ranges,
                    MemoryBudget& budget) {
  const Shape source_strides = strides_of(source.shape);
  Shape shape, strides;
  int64_t offset = 0;
  for (size_t axis = 0; axis < ranges.size(); ++axis) {
    shape.push_back(ranges[axis].count);
    // A step beyond the axis takes one element; keep it from overflowing.
    strides.push_back(ranges[axis].count > 1 ? ranges[axis].step * source_strides[axis] : 0);
    offset += ranges[axis].begin * source_strides[axis];
  }
  return pick(node, source, std::move(shape), strides, offset, budget);
}

Constant fold_concat(const NodeView& node, std::span<const Constant* const> sources, int64_t axis,
                     MemoryBudget& budget) {
  const auto at = static_cast<size_t>(axis);
  Shape shape = sources[0]->shape;
  shape[at] = 0;
  for (const Constant* source : sources) {
    Shape expected = shape;
    if (source->shape.size() == shape.size()) expected[at] = source->shape[at];
    if (source->shape != expected || source->is_integral() != sources[0]->is_integral()) {
      node.fail(fmt::format("constants of shapes {} and {} cannot be joined along axis {}",
                            branchsae::to_string(sources[0]->shape), branchsae::to_string(source->shape),
                            axis));
    }
    shape[at] += source->shape[at];
  }
  HostTensor* floats = nullptr;
  Constant result = make_like(node, *sources[0], shape, budget, floats);
  const std::span<const int64_t> all(shape);
  const int64_t outer = product(all.first(at)), inner = product(all.subspan(at + 1));
  if (result.size() == 0) return result;
  int64_t to = 0;
  for (int64_t o = 0; o < outer; ++o) {
    for (const Constant* source : sources) {
      const int64_t run = source->shape[at] * inner;
      copy_run(*source, o * run, run, result, floats, to);
      to += run;
    }
  }
  return result;
}

Constant fold_arithmetic(const NodeView& node, Arithmetic kind, const Constant& a, const Constant& b,
                         MemoryBudget& budget) {
  if (a.is_integral() != b.is_integral()) node.fail("integers and floating-point numbers are mixed");
  HostTensor* floats = nullptr;
  Constant result = make_like(node, a, broadcast_shape(node, a.shape, b.shape), budget, floats);
  const Shape a_strides = broadcast_strides(a.shape, result.shape);
  const Shape b_strides = broadcast_strides(b.shape, result.shape);
  std::vector<int64_t> b_offsets(static_cast<size_t>(result.size()));
  for_each_offset(result.shape, b_strides, 0, result.size(),
                  [&](int64_t i, int64_t offset) { b_offsets[static_cast<size_t>(i)] = offset; });
  for_each_offset(result.shape, a_strides, 0, result.size(), [&](int64_t i, int64_t offset) {
    const int64_t other = b_offsets[static_cast<size_t>(i)];
    if (floats != nullptr) {
      (*floats)[i] = apply(kind, (*a.floats)[offset], (*b.floats)[other]);
    } else {
      result.integers[static_cast<size_t>(i)] =
          apply(node, kind, a.integers[static_cast<size_t>(offset)], b.integers[static_cast<size_t>(other)]);
    }
  });
  return result;
}

}  // namespace branchsae::loader
