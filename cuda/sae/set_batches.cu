#include "cuda/sae/set_batches.h"

#include <algorithm>

#include "cuda/kernels/set_batches.cuh"
#include "cuda/launch.h"

namespace branchsae::cuda {

void set_batches(cudaStream_t stream, const SaeDesc* saes, std::span<const SaeBatch> batches) {
  for (size_t first = 0; first < batches.size(); first += kMostBatches) {
    const size_t count = std::min(batches.size() - first, size_t{kMostBatches});
    BatchArguments arguments{};
    std::copy_n(batches.begin() + static_cast<std::ptrdiff_t>(first), count, arguments.batches);
    launch(set_batches_kernel, "set_batches", {.block = kMostBatches}, stream, saes + first,
           static_cast<int>(count), arguments);
  }
}

}  // namespace branchsae::cuda
