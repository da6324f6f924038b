#pragma once
/// Layers that look at one element at a time: affine, ReLU, clip, binary; and softmax.
#include "cpu/network/layer.h"
#include "engine/graph.h"

namespace branchsae::cpu {

/// src and dst of all of these have one layout; image strides may differ.
LayerPtr make_affine(const AffineOp& op, const Slot& src, const Slot& dst);
LayerPtr make_relu(const Slot& src, const Slot& dst);
LayerPtr make_clip(const ClipOp& op, const Slot& src, const Slot& dst);
LayerPtr make_binary(const BinaryOp& op, const Slot& left, const Slot& right, const Slot& dst);
/// H = W = 1. Exponentials and their sum in double precision.
LayerPtr make_softmax(const Slot& src, const Slot& dst);

}  // namespace branchsae::cpu
