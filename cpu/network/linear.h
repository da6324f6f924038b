#pragma once
#include "cpu/network/layer.h"
#include "engine/graph.h"

namespace branchsae::cpu {

/// dst = weight * flatten(src) + bias, ReLU when fused. The weights' columns are permuted to src's own
/// layout, so that nothing is flattened at run time. Not on oneDNN: its matrix product sums the last images
/// of a batch in another order than the first on processors without AVX-512, so that bits would depend on an
/// image's place.
LayerPtr make_linear(const LinearOp& op, const Slot& src, const Slot& dst);

}  // namespace branchsae::cpu
