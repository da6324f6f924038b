#pragma once
#include "cpu/network/layer.h"
#include "engine/graph.h"

namespace branchsae::cpu {

/// Normalisation across channels (LrnOp has the formula). Needs a blocked layout of src and dst.
LayerPtr make_lrn(const LrnOp& op, const Slot& src, const Slot& dst, int threads);

}  // namespace branchsae::cpu
