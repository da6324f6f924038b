#pragma once
/// Layers number by number, and softmax.
#include "cuda/network/layer.h"
#include "engine/graph.h"

namespace branchsae::cuda {

LayerPtr make_affine(const AffineOp& op, const Slot& src, const Slot& dst, WeightStore& weights);
LayerPtr make_relu(const Slot& src, const Slot& dst);
LayerPtr make_clip(const ClipOp& op, const Slot& src, const Slot& dst);
LayerPtr make_binary(const BinaryOp& op, const Slot& left, const Slot& right, const Slot& dst);
/// Over the channels of values of one pixel.
LayerPtr make_softmax(const Slot& src, const Slot& dst);

}  // namespace branchsae::cuda
