#pragma once
/// The forward pass on the CPU.
///
/// Inside, activations lie in channel blocks ([N][C/16][H][W][16], see layout.h), which oneDNN's convolutions
/// want; captured taps are turned into NHWC token rows once. A batch runs in chunks of one fixed size, the
/// last one padded with zero images: every image then meets the same primitives with the same blocking, so
/// that its bits depend neither on its place nor on its neighbours.
#include <memory>

#include "engine/network.h"

namespace branchsae::cpu {

/// Throws InputError (no taps, sizes that are not positive), ShapeError (the graph does not allow this size),
/// DeviceError (memory, oneDNN); messages name the layer and its shapes.
/// Bits are the same for equal `threads`; another number may group sums differently inside oneDNN.
std::unique_ptr<NetworkExecutor> make_network(const Graph& graph, const NetworkOptions& options, int threads);

}  // namespace branchsae::cpu
