#pragma once
// Threads, warps and blocks: indices, barriers, exchange between lanes, integer atomics.
// All collectives take the whole warp (or block) and must never stand in a divergent branch.
// threadIdx, blockIdx, blockDim and gridDim are there in both worlds.
#include "cuda/arch/types.cuh"

namespace branchsae::cuda {

constexpr int kWarp = 32;
constexpr uint32_t kAllLanes = 0xffffffffU;

BRANCHSAE_DEVICE int lane_id() {
  return static_cast<int>(threadIdx.x % kWarp);
}
BRANCHSAE_DEVICE int warp_id() {
  return static_cast<int>(threadIdx.x / kWarp);
}

BRANCHSAE_DEVICE void sync_warp() {
  __syncwarp();
}
BRANCHSAE_DEVICE void sync_block() {
  __syncthreads();
}
BRANCHSAE_DEVICE bool sync_block_or(bool value) {
  return __syncthreads_or(value ? 1 : 0) != 0;
}
BRANCHSAE_DEVICE int sync_block_count(bool value) {
  return __syncthreads_count(value ? 1 : 0);
}
/// Barrier `id` in 1..15 among `threads` threads (whole warps) of the block.
BRANCHSAE_DEVICE void sync_named(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
/// Comes to that barrier without waiting there; the whole warp does.
BRANCHSAE_DEVICE void arrive_named(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

/// T: int32_t, uint32_t or float. `width` a power of two: lanes exchange within groups of that many.
template <class T>
BRANCHSAE_DEVICE T shuffle(T value, int from_lane, int width = kWarp) {
  return __shfl_sync(kAllLanes, value, from_lane, width);
}
template <class T>
BRANCHSAE_DEVICE T shuffle_xor(T value, int lane_mask, int width = kWarp) {
  return __shfl_xor_sync(kAllLanes, value, lane_mask, width);
}
/// From the lane `by` below; the lowest `by` lanes of a group keep their own.
template <class T>
BRANCHSAE_DEVICE T shuffle_up(T value, int by, int width = kWarp) {
  return __shfl_up_sync(kAllLanes, value, static_cast<unsigned>(by), width);
}
template <class T>
BRANCHSAE_DEVICE T shuffle_down(T value, int by, int width = kWarp) {
  return __shfl_down_sync(kAllLanes, value, static_cast<unsigned>(by), width);
}
BRANCHSAE_DEVICE uint32_t ballot(bool value) {
  return __ballot_sync(kAllLanes, value);
}
BRANCHSAE_DEVICE bool any(bool value) {
  return __any_sync(kAllLanes, value) != 0;
}
BRANCHSAE_DEVICE bool all(bool value) {
  return __all_sync(kAllLanes, value) != 0;
}

/// Butterfly sum: every lane gets the same bits.
template <class T>
BRANCHSAE_DEVICE T warp_sum(T value) {
  for (int mask = kWarp / 2; mask > 0; mask /= 2) value += shuffle_xor(value, mask);
  return value;
}
BRANCHSAE_DEVICE double warp_sum(double value) {
  for (int mask = kWarp / 2; mask > 0; mask /= 2) value += __shfl_xor_sync(kAllLanes, value, mask);
  return value;
}

/// Integers in global memory only: their order does not show in the result. They return the old value.
BRANCHSAE_DEVICE int32_t atomic_add(int32_t* target, int32_t value) {
  return atomicAdd(target, value);
}
BRANCHSAE_DEVICE uint32_t atomic_or(uint32_t* target, uint32_t value) {
  return atomicOr(target, value);
}
BRANCHSAE_DEVICE int32_t atomic_max(int32_t* target, int32_t value) {
  return atomicMax(target, value);
}

}  // namespace branchsae::cuda
