#pragma once
// A product in the way of the sm_90a kernels, small enough to check by hand: one warp copies tiles by TMA,
// four multiply.
#include "cuda/arch/hopper.cuh"
#include "cuda/arch/warp.cuh"

namespace branchsae::cuda::test {

constexpr int kStages = 2;
constexpr int kTileColumns = kBoxColumns;

template <int N>
struct ProductTiles {
  static constexpr int kA = 64 * kTileColumns, kB = N * kTileColumns;  // elements
  static constexpr int64_t kBytes = kStages * (kA + kB) * 2 + 128;
};

/// c[64, N] = a[64, d] b[N, d]^T; d = columns of both maps. Block: 128 threads that multiply, then 32 that
/// copy.
template <int N>
__global__ void __launch_bounds__(kWarpGroup + kWarp)
    product_kernel(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, int d,
                   float* c) {
  if constexpr (kHopper) {
    using Tiles = ProductTiles<N>;
    SmemArena arena;
    auto tiles_a = arena.take<uint16_t>(kStages * Tiles::kA);
    auto tiles_b = arena.take<uint16_t>(kStages * Tiles::kB);
    auto full = arena.take<uint64_t>(2 * kStages);  // then the empty ones
    const int thread = static_cast<int>(threadIdx.x);
    if (thread == 0) {
      for (int stage = 0; stage < kStages; ++stage) {
        mbarrier_init(full, stage, 1);
        mbarrier_init(full, kStages + stage, kWarpGroup);
      }
      init_mbarriers_done();
    }
    sync_block();
    const int tiles = (d + kTileColumns - 1) / kTileColumns;
    if (thread >= kWarpGroup) {
      if (thread != kWarpGroup) return;
      for (int tile = 0; tile < tiles; ++tile) {
        const int stage = tile % kStages;
        const auto round = static_cast<uint32_t>(tile / kStages);
        mbarrier_wait(full, kStages + stage, (round & 1) ^ 1);
        mbarrier_arrive_expect(full, stage, (Tiles::kA + Tiles::kB) * 2);
        copy_box(tiles_a, stage * Tiles::kA, &a, 0, tile * kTileColumns, full, stage);
        copy_box(tiles_b, stage * Tiles::kB, &b, 0, tile * kTileColumns, full, stage);
      }
      return;
    }
    float sums[N / 2];
#pragma unroll
    for (int i = 0; i < N / 2; ++i) sums[i] = 0.0F;
    for (int tile = 0; tile < tiles; ++tile) {
      const int stage = tile % kStages;
      mbarrier_wait(full, stage, static_cast<uint32_t>(tile / kStages) & 1);
      const uint64_t at_a = matrix_descriptor(tiles_a, stage * Tiles::kA);
      const uint64_t at_b = matrix_descriptor(tiles_b, stage * Tiles::kB);
      keep_registers(sums);
      wgmma_fence();
#pragma unroll
      for (int k = 0; k < kTileColumns / 16; ++k)
        wgmma_bf16(sums, at_a + static_cast<uint64_t>(2 * k), at_b + static_cast<uint64_t>(2 * k));
      wgmma_commit();
      wgmma_wait<0>();
      keep_registers(sums);
      mbarrier_arrive(full, kStages + stage);
    }
    const int row = warp_id() * 16 + lane_id() / 4, column = lane_id() % 4 * 2;
#pragma unroll
    for (int i = 0; i < N / 2; ++i) c[(row + i / 2 % 2 * 8) * N + i / 4 * 8 + column + i % 2] = sums[i];
  }
}

}  // namespace branchsae::cuda::test
