#pragma once
/// From the caller's images to the network's input.
#include <cuda_runtime_api.h>

#include "cuda/network/layout.h"
#include "engine/pixel_table.h"
#include "engine/view.h"

namespace branchsae::cuda {

/// dst  the network's input; images beyond images.shape[0] become zero
/// Both enqueue and throw DeviceError on launch. images: [count, H, W, C], device, any strides.
void write_input(cudaStream_t stream, View<const float, 4> images, const Activation& dst);
/// images [count, H, W, 3], device, contiguous. table: PixelTable::value on the device.
void write_input(cudaStream_t stream, View<const uint8_t, 4> images, const float* table,
                 const std::array<int, 3>& order, const Activation& dst);

}  // namespace branchsae::cuda
