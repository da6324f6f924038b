#pragma once
#include "cuda/network/layer.h"
#include "engine/graph.h"

namespace branchsae::cuda {

LayerPtr make_lrn(const LrnOp& op, const Slot& src, const Slot& dst);

}  // namespace branchsae::cuda
