#pragma once
/// Max and average pooling. Window extents as window_extent() of engine/passes.h; an average counts the
/// padding it includes up to the padded extent, not beyond (where ceil_mode reaches).
#include "cpu/network/layer.h"
#include "engine/graph.h"

namespace branchsae::cpu {

LayerPtr make_max_pool(const MaxPoolOp& op, const Slot& src, const Slot& dst, int threads);
LayerPtr make_average_pool(const AveragePoolOp& op, const Slot& src, const Slot& dst, int threads);
LayerPtr make_global_average_pool(const Slot& src, const Slot& dst);

}  // namespace branchsae::cpu
