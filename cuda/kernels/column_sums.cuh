#pragma once
// Sums of a matrix's columns by one block, in double and in an order that depends on the number of rows only.
#include "cuda/arch/smem.cuh"
#include "cuda/arch/warp.cuh"

namespace branchsae::cuda {

constexpr int kSumWarps = 32;  // of a block; 32 columns a block

/// Sum of rows[0 .. count) of column `column` (this lane's; any when not `inside`), in every warp. `work`:
/// kSumWarps x 32 doubles; ends with a barrier, so that it may be used again.
BRANCHSAE_DEVICE double column_sum(const float* rows, int32_t count, int32_t width, int32_t column,
                                   bool inside, Smem<double> work) {
  double sum = 0;
  if (inside) {
#pragma unroll 4
    for (int32_t row = warp_id(); row < count; row += kSumWarps)
      sum += static_cast<double>(rows[static_cast<int64_t>(row) * width + column]);
  }
  work.store(warp_id() * kWarp + lane_id(), sum);
  sync_block();
  double total = 0;
  for (int warp = 0; warp < kSumWarps; ++warp) total += work.load(warp * kWarp + lane_id());
  sync_block();
  return total;
}

/// Sum over the block's threads, in every thread; `work` as above, its first kSumWarps.
BRANCHSAE_DEVICE double block_sum(double value, Smem<double> work) {
  value = warp_sum(value);
  if (lane_id() == 0) work.store(warp_id(), value);
  sync_block();
  double total = 0;
  for (int warp = 0; warp < kSumWarps; ++warp) total += work.load(warp);
  sync_block();
  return total;
}

}  // namespace branchsae::cuda
