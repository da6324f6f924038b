#include "cuda/sae/sort_pairs.h"

#include "cuda/kernels/count_pairs.cuh"
#include "cuda/kernels/place_pairs.cuh"
#include "cuda/kernels/scan_pairs.cuh"
#include "cuda/launch.h"

namespace branchsae::cuda {
namespace {

void add_items(int32_t index, int32_t count, std::vector<WorkItem>& work) {
  for (int32_t tile = 0; tile < count; ++tile) work.push_back({index, tile});
}

// (sort tile, range of latents), AuxK's tiles after the others.
int32_t sort_items(const SaeDesc& sae) {
  return sae.sort_tiles * (sae.aux_k > 0 ? 2 : 1) * ((sae.n + kSortLatents - 1) / kSortLatents);
}

}  // namespace

void add_count_pairs_work(int32_t index, const SaeDesc& sae, std::vector<WorkItem>& work) {
  add_items(index, sort_items(sae), work);
}

void add_scan_pairs_work(int32_t index, const SaeDesc& sae, std::vector<WorkItem>& work) {
  add_items(index, sae.groups * ((sae.n + kScanLatents - 1) / kScanLatents), work);
}

void add_place_pairs_work(int32_t index, const SaeDesc& sae, std::vector<WorkItem>& work) {
  add_items(index, sort_items(sae), work);
}

void count_pairs(cudaStream_t stream, const SaeDesc* saes, WorkList work) {
  launch(count_pairs_kernel, "count_pairs",
         {.grid = work.count, .block = kCountThreads, .smem_bytes = smem_bytes<int32_t>(kSortLatents)},
         stream, saes, work);
}

void scan_pairs(cudaStream_t stream, const SaeDesc* saes, WorkList work) {
  launch(scan_pairs_kernel, "scan_pairs",
         {.grid = work.count, .block = kScanLatents, .smem_bytes = smem_bytes<int32_t>(kScanLatents / kWarp)},
         stream, saes, work);
}

void place_pairs(cudaStream_t stream, const SaeDesc* saes, WorkList work) {
  launch(place_pairs_kernel, "place_pairs",
         {.grid = work.count,
          .block = kPlaceThreads,
          .smem_bytes = smem_bytes<int32_t>(kSortWarps * kSortLatents)},
         stream, saes, work);
}

}  // namespace branchsae::cuda
