#pragma once
/// Pools as layers; src and dst agree in images, channels and element.
#include "cuda/network/layer.h"
#include "engine/graph.h"

namespace branchsae::cuda {

LayerPtr make_max_pool(const MaxPoolOp& op, const Slot& src, const Slot& dst);
LayerPtr make_average_pool(const AveragePoolOp& op, const Slot& src, const Slot& dst);
LayerPtr make_global_average_pool(const Slot& src, const Slot& dst);

}  // namespace branchsae::cuda
