#pragma once
/// Filters at the interpolation points, in the order that the kernels read.
#include "cpu/network/winograd_task.h"
#include "engine/device_buffer.h"
#include "engine/graph.h"

namespace branchsae::cpu {

/// U = G g G^T of every filter, computed in double precision and rounded once.
/// op   weight [outputs, inputs, taps, taps], one group
/// dst  gives the channel blocks; the channels beyond C are zero
/// Returns [panel][points^2][inputs][panel's channels] float32 (see winograd_task.h). Throws MemoryError.
DeviceMemory pack_winograd_weights(const ConvOp& op, WinogradForm form, const Layout& dst);

}  // namespace branchsae::cpu
