#pragma once
/// Tokens from a device to the host.
#include "engine/backend.h"
#include "engine/host_tensor.h"

namespace branchsae::model {

/// A copy of strided device rows, [rows, d]. Blocking.
HostTensor rows_to_host_sync(Backend& backend, Stream& stream, View<const float, 2> rows);

/// Copies contiguous device rows to host memory. Blocking.
void rows_to_host_sync(Backend& backend, Stream& stream, View<const float, 2> rows, float* destination);

}  // namespace branchsae::model
