#pragma once
/// A convolution, or sibling convolutions merged into one, as a layer.
#include <vector>

#include "cuda/network/convolution.h"
#include "cuda/network/layer.h"
#include "engine/graph.h"

namespace branchsae::cuda {

/// One of the convolutions that a layer computes and the first channel of dst that it writes.
struct ConvPart {
  const ConvOp* op = nullptr;
  int64_t first_output = 0;
};

/// The problem as the operands lie; dst.layout.c counts all parts' channels, padding between them included.
ConvProblem conv_problem(const ConvOp& op, const Slot& src, const Slot& dst, bool tf32);

/// parts  read the same src with the same window, groups and relu; more than one: 1 group only.
/// Asks the library for the problem as it is; where it declines, for one on dense copies of the operands
/// (with the padding in the copy), and for groups as one convolution with zeros between them. Throws
/// DeviceError with the library's reasons when none is taken.
LayerPtr make_convolution(ConvolutionLibrary& library, const std::vector<ConvPart>& parts, const Slot& src,
                          const Slot& dst, bool tf32, WeightStore& weights);

}  // namespace branchsae::cuda
