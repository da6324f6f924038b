#include "cuda/sae/tied_dw.h"

#include "cuda/kernels/gather_dw.cuh"
#include "cuda/kernels/tile_dw.cuh"
#include "cuda/launch.h"
#include "cuda/sae/gradient_plan.h"

namespace branchsae::cuda {
namespace {

template <class T, bool kTied>
void launch_dw(cudaStream_t stream, int32_t rows, const SaeDesc* saes, WorkList work) {
  if (rows == 0) {
    launch(gather_dw_kernel<T, kTied>, "gather_dw", {.grid = work.count, .block = kGatherDwWarps * kWarp},
           stream, saes, work);
    return;
  }
  launch(tile_dw_kernel<T, kTied>, "tile_dw",
         {.grid = work.count,
          .block = kTileDwThreads,
          .smem_bytes = smem_bytes<T>(static_cast<int64_t>(rows) * 2 * kSlice)},
         stream, saes, work);
}

int64_t gather_units(const SaeDesc& sae) {
  const int32_t slices = sae.precision == Precision::kBf16 ? kWarpSlices<Bf16> : kWarpSlices<float>;
  return static_cast<int64_t>(dw_cuts(sae)) * ((sae.slices + slices - 1) / slices);
}

}  // namespace

TiedDwVariant tied_dw_variant(const SaeDesc& sae) {
  return {sae.precision == Precision::kBf16, sae.tied != 0, sae.dw_rows};
}

void add_tied_dw_work(int32_t index, const SaeDesc& sae, std::vector<WorkItem>& work) {
  const int64_t items = sae.dw_rows > 0 ? static_cast<int64_t>(sae.groups) * sae.slices
                                        : (gather_units(sae) + kGatherDwWarps - 1) / kGatherDwWarps;
  for (int32_t tile = 0; tile < items; ++tile) work.push_back({index, tile});
}

void tied_dw(cudaStream_t stream, const TiedDwVariant& variant, const SaeDesc* saes, WorkList work) {
  if (variant.bf16 && variant.tied) return launch_dw<Bf16, true>(stream, variant.rows, saes, work);
  if (variant.bf16) return launch_dw<Bf16, false>(stream, variant.rows, saes, work);
  if (variant.tied) return launch_dw<float, true>(stream, variant.rows, saes, work);
  launch_dw<float, false>(stream, variant.rows, saes, work);
}

}  // namespace branchsae::cuda
