#pragma once
/// From the graph to a list of layers on planned memory.
#include <vector>

#include "cpu/network/division.h"
#include "cpu/network/layer.h"
#include "cpu/network/onednn.h"
#include "engine/device_buffer.h"
#include "engine/network.h"

namespace branchsae::cpu {

/// One tap's token rows for a whole batch.
struct TapBuffer {
  DeviceMemory memory;  ///< [max_batch * height * width, d] float32
  int64_t height = 1, width = 1, d = 0;
  bool has_grid = false;
  float* data() const { return static_cast<float*>(memory.data()); }
};

struct CompiledNetwork {
  std::vector<LayerPtr> layers;
  Slot input;
  std::vector<TapBuffer> taps;
  MemoryPlan plan;  ///< placed
};

/// Optimises the graph for the tapped values, chooses layouts, writes branches straight into their concat
/// where the layer can, and plans memory: of one lane. Layers are not bound yet.
CompiledNetwork compile(OnednnContext& context, const Graph& graph, const NetworkOptions& options,
                        const Division& division);

}  // namespace branchsae::cpu
