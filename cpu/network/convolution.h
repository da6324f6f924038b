#pragma once
#include "cpu/network/layer.h"
#include "cpu/network/onednn.h"
#include "engine/graph.h"
#include "engine/network.h"

namespace branchsae::cpu {

/// Whether oneDNN would be asked for Winograd: 3x3, stride 1, no dilation, one group, not forbidden.
bool wants_winograd(const ConvOp& op, ConvAlgorithm algorithm);

/// A convolution with its bias and ReLU, on oneDNN; weights are packed here, once.
/// Operands that are slices of a concat are taken image by image, since for one image a slice is dense
/// (oneDNN has no fast convolution on strided memory and falls back to its reference silently). Convolutions
/// that no blocked implementation takes (groups with odd channel counts) run on plain NCHW copies. Throws
/// ShapeError, DeviceError.
LayerPtr make_convolution(OnednnContext& context, const ConvOp& op, const Slot& src, const Slot& dst,
                          ConvAlgorithm algorithm);

}  // namespace branchsae::cpu
