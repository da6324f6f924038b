#pragma once
/// Arithmetic on constants while a model is read, so that what computes shapes and prepares weights folds
/// away. Source of each formula: the ONNX operator specification.
#include <cstdint>
#include <span>
#include <vector>

#include "loader/onnx_constant.h"
#include "loader/onnx_node.h"

namespace branchsae::loader {

/// `axis` counted from the front. Throws InputError, naming the node, when it is outside [-rank, rank).
int64_t normal_axis(const NodeView& node, int64_t axis, int64_t rank);
/// The same for several; throws on a repeated one.
std::vector<int64_t> normal_axes(const NodeView& node, std::vector<int64_t> axes, int64_t rank);

/// Begin, step and count along one axis.
struct SliceRange {
  int64_t begin = 0, step = 1, count = 0;
};
/// numpy's rule for start:end:step on an axis of this extent; step is not 0.
SliceRange slice_range(int64_t start, int64_t end, int64_t step, int64_t extent);

/// All take a node for errors and a budget for memory; all throw InputError on shapes that do not fit.
Constant fold_reshape(const NodeView& node, const Constant& source, Shape shape, MemoryBudget& budget);
Constant fold_transpose(const NodeView& node, const Constant& source, std::span<const int64_t> order,
                        MemoryBudget& budget);
/// indices of any rank, all known.
Constant fold_gather(const NodeView& node, const Constant& source, const Constant& indices, int64_t axis,
                     MemoryBudget& budget);
/// ranges [rank].
Constant fold_slice(const NodeView& node, const Constant& source, std::span<const SliceRange> ranges,
                    MemoryBudget& budget);
Constant fold_concat(const NodeView& node, std::span<const Constant* const> sources, int64_t axis,
                     MemoryBudget& budget);

enum class Arithmetic { kAdd, kSub, kMul, kDiv };
/// numpy's broadcasting; integers divide towards zero. What the batch size or an open size enters stays that
/// symbol where it is that size itself, else becomes unknown.
Constant fold_arithmetic(const NodeView& node, Arithmetic kind, const Constant& a, const Constant& b,
                         MemoryBudget& budget);

}  // namespace branchsae::loader
