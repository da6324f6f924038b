#pragma once
#include "cuda/network/layer.h"
#include "engine/graph.h"

namespace branchsae::cuda {

/// Reads activations or rows, writes float32 rows; weights are rounded as src is.
LayerPtr make_linear(const LinearOp& op, const Slot& src, const Slot& dst, WeightStore& weights);

}  // namespace branchsae::cuda
