#pragma once
/// Which latents fire on one image, and where.
#include <array>
#include <vector>

#include "analysis/features/code_pass.h"

namespace branchsae {

struct FiringLatent {
  int64_t latent = 0;
  float max = 0;
  int64_t y = 0, x = 0;  ///< where it is highest, in the tap's grid; the first of equals
  double share = 0;      ///< of the image's positions on which it fires
  std::vector<float> z;  ///< [height * width] at every position
};

/// Of one image of the batch, by falling max, ties by number.
std::vector<FiringLatent> firing_latents(const CodeBatch& batch, size_t place, std::array<int64_t, 2> grid);

}  // namespace branchsae
