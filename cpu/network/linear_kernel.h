#pragma once
/// Vector kernel of linear layers, chosen for the processor at run time.
#include <cstdint>

namespace branchsae::cpu {

inline constexpr int64_t kLinearOutputs = 16;  ///< of one tile
inline constexpr int64_t kLinearImages = 8;

/// dst[image][o] = sum over k of weight[k][o] * src[image][k] + bias[o] for 16 outputs and up to 8 images.
/// Every image's sum runs over k in the same order, in stretches that are added up, whatever the other images
/// are.
struct LinearTile {
  const float* weight;  ///< [inputs][16]
  const float* bias;    ///< [16]
  int64_t inputs;
  const float* src[kLinearImages];
  float* dst[kLinearImages];
  int64_t images;
  bool relu;
};

void linear_tile(const LinearTile& tile);

}  // namespace branchsae::cpu
