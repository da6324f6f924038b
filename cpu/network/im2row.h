#pragma once
#include "cpu/network/layer.h"
#include "engine/graph.h"

namespace branchsae::cpu {

/// Any convolution, in any layouts, with its bias and ReLU: for those that oneDNN would leave to its
/// reference code, such as paddings wider than the window, which is hundreds of times slower. The windows of
/// some neighbouring outputs are copied to rows, which are multiplied by packed weights.
LayerPtr make_im2row_convolution(const ConvOp& op, const Slot& src, const Slot& dst, int threads);

}  // namespace branchsae::cpu
