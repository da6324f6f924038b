#pragma once
/// From the caller's images to the network's input layout, in one pass.
#include "cpu/network/layout.h"
#include "engine/pixel_table.h"
#include "engine/view.h"

namespace branchsae::cpu {

/// images [count, H, W, C], any strides; count <= dst.layout.n. Images beyond count become zero.
void write_input(View<const float, 4> images, const Blob& dst);
/// images [count, H, W, 3], contiguous.
void write_input(View<const uint8_t, 4> images, const PixelTable& table, const Blob& dst);

}  // namespace branchsae::cpu
