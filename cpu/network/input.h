#pragma once
/// From the caller's images to the network's input layout, in one pass.
#include <array>

#include "cpu/network/layout.h"
#include "engine/preprocess.h"
#include "engine/view.h"

namespace branchsae::cpu {

/// For each input channel the value of each of the 256 pixel levels, so that every level has one rounding,
/// and which pixel channel it reads. Formula: engine/preprocess.h, in double precision.
struct PixelTable {
  explicit PixelTable(const Preprocess& preprocess);
  std::array<std::array<float, 256>, 3> value;
  std::array<int, 3> pixel_channel;
};

/// images [count, H, W, C], any strides; count <= dst.layout.n. Images beyond count become zero.
void write_input(View<const float, 4> images, const Blob& dst);
/// images [count, H, W, 3], contiguous.
void write_input(View<const uint8_t, 4> images, const PixelTable& table, const Blob& dst);

}  // namespace branchsae::cpu
