#pragma once
/// Rows of a matrix from one place of a device's memory to another.
#include <cuda_runtime_api.h>

#include "engine/view.h"

namespace branchsae::cuda {

/// dst[i] = src[rows[i]]; with rows.data == nullptr dst[i] = src[i].
/// src     [*, d] strided, device
/// rows    [count] int32, device, each a row of src
/// dst     [count, d] strided, device; must not overlap src
/// Stream  enqueues, never synchronises
/// Throws  ShapeError (names both shapes); DeviceError on launch
void copy_rows(cudaStream_t stream, View<const float, 2> src, View<const int32_t, 1> rows,
               View<float, 2> dst);

}  // namespace branchsae::cuda
