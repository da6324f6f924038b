#pragma once
/// Vector kernel of the convolution of last resort, chosen for the processor at run time.
#include <cstdint>

namespace branchsae::cpu {

inline constexpr int64_t kIm2rowOutputs = 16;  ///< channels of one tile
inline constexpr int64_t kIm2rowPixels = 48;   ///< of one tile, a multiple of the kernel's register block

/// dst[p][o] = bias[o] + sum over k of weight[k][o] * columns[k][p], then ReLU, for 16 outputs o and 48
/// pixels p. Every sum runs over k in order.
struct Im2rowTile {
  const float* weight;   ///< [inputs][16]
  const float* bias;     ///< [16]
  const float* columns;  ///< [inputs][48]
  int64_t inputs;
  bool relu;
  float* dst;  ///< [48][16]
};

void im2row_tile(const Im2rowTile& tile);

}  // namespace branchsae::cpu
