#pragma once
/// Vector kernel of the local response normalisation, chosen for the processor at run time.
#include <cstdint>

namespace branchsae::cpu {

/// A run of pixels of one image.
/// dst = src / base^beta, base = bias + alpha / size * sum of src^2 over channels c - before ... c - before +
/// size - 1. For beta = 0.75 that is src * r * sqrt(r) with r = base^-0.5 from the processor's estimate and
/// Newton steps. An infinite base gives 0.
struct LrnTile {
  const float* src;    ///< first pixel of channel block 0; the block's next pixel is `block` floats on
  float* dst;          ///< likewise
  int64_t plane_size;  ///< floats from one channel block to the next, src and dst
  int64_t pixels, blocks, block;
  int64_t size, before;
  float alpha_over_size, beta, bias;
  float* squares;  ///< scratch: [pixels][pitch], zero in the first `before` columns and from before +
                   ///< blocks*block on
  int64_t pitch;
};

void lrn_tile(const LrnTile& tile);

}  // namespace branchsae::cpu
