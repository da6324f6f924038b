#pragma once
/// Preprocessing as a table.
#include <array>

#include "engine/preprocess.h"

namespace branchsae {

/// For each input channel the value of each of the 256 pixel levels, so that every level has one rounding,
/// and which pixel channel it reads. Formula: engine/preprocess.h, in double precision.
struct PixelTable {
  explicit PixelTable(const Preprocess& preprocess);
  std::array<std::array<float, 256>, 3> value;
  std::array<int, 3> pixel_channel;
};

}  // namespace branchsae
