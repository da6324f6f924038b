#pragma once
/// How a batch is divided among threads.
#include <cstdint>

namespace branchsae::cpu {

/// Either one lane, whose threads share every layer, or a lane a thread, each with images of its own: then no
/// thread waits for another until the batch is done, and what a layer wrote is still in that core's cache
/// when the next one reads it. A fixed rule, so that the same options give the same bits.
struct Division {
  int lanes = 1;
  int threads = 1;     ///< of each lane
  int64_t images = 1;  ///< that a lane computes together
};

/// Images computed together are few enough that activations stay near the caches, enough that weights are not
/// read again for every image, and of equal number everywhere so that little is computed in vain.
Division divide(int64_t max_batch, int64_t height, int64_t width, int threads);

}  // namespace branchsae::cpu
