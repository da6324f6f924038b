#pragma once
#include "cpu/network/layer.h"
#include "cpu/network/onednn.h"
#include "engine/graph.h"

namespace branchsae::cpu {

/// A convolution with its bias and ReLU as a plain sum of products, on oneDNN; weights are packed here, once.
/// Operands that are slices of a concat are taken image by image, since for one image a slice is dense
/// (oneDNN has no fast convolution on strided memory and falls back to its reference silently). Convolutions
/// that no blocked implementation takes (groups with odd channel counts) run on plain NCHW copies.
/// nullptr where oneDNN has nothing but its reference code. Throws ShapeError, DeviceError.
LayerPtr make_convolution(OnednnContext& context, const ConvOp& op, const Slot& src, const Slot& dst);

}  // namespace branchsae::cpu
