#pragma once
/// From the graph to a list of layers on planned memory.
#include <vector>

#include "cuda/network/convolution.h"
#include "cuda/network/copies.h"
#include "cuda/network/layer.h"
#include "cuda/network/placement.h"
#include "engine/network.h"
#include "engine/network_checks.h"

namespace branchsae::cuda {

/// One tap's token rows for a whole batch: in the taps' memory, or (one part, float32) the activation itself.
struct TapRows {
  TapShape shape;
  int64_t dst_offset = -1;  ///< bytes into the taps' memory; -1: `slot`'s channels from `begin` on
  Slot slot;
  int64_t begin = 0;
};

struct CompiledNetwork {
  std::vector<LayerPtr> layers;
  GatherTaps* gather = nullptr;  ///< the last layer when a tap needs one
  Slot input;
  Shape input_shape;  ///< logical
  std::vector<TapRows> taps;
  int64_t tap_bytes = 0;
  int64_t scratch_bytes = 0;
  WeightStore weights;
  MemoryPlan plan{256};  ///< placed
  Lowering lowering = Lowering::kDense;
};

/// Optimises the graph for the tapped values, chooses layouts and algorithms, and plans memory. Layers are
/// not bound yet. Throws InputError, ShapeError, DeviceError naming the layer and its shapes.
CompiledNetwork compile(ConvolutionLibrary& library, const Graph& graph, const NetworkOptions& options,
                        Lowering lowering);

}  // namespace branchsae::cuda
