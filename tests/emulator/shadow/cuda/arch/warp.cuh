#pragma once
/// Twin of cuda/arch/warp.cuh for the emulator.
#include <type_traits>

#include "cuda/arch/types.cuh"

namespace branchsae::cuda {

constexpr int kWarp = 32;
constexpr uint32_t kAllLanes = 0xffffffffU;

BRANCHSAE_DEVICE int lane_id() {
  return emulator::lane_id();
}
BRANCHSAE_DEVICE int warp_id() {
  return emulator::warp_id();
}

BRANCHSAE_DEVICE void sync_warp(emulator::Place place = emulator::Place::current()) {
  emulator::sync_warp(place);
}
BRANCHSAE_DEVICE void sync_block(emulator::Place place = emulator::Place::current()) {
  emulator::sync_block(place);
}
BRANCHSAE_DEVICE bool sync_block_or(bool value, emulator::Place place = emulator::Place::current()) {
  return emulator::sync_block_count(value, place) != 0;
}
BRANCHSAE_DEVICE int sync_block_count(bool value, emulator::Place place = emulator::Place::current()) {
  return emulator::sync_block_count(value, place);
}
BRANCHSAE_DEVICE void sync_named(int id, int threads, emulator::Place place = emulator::Place::current()) {
  emulator::sync_named(id, threads, place);
}
BRANCHSAE_DEVICE void arrive_named(int id, int threads, emulator::Place place = emulator::Place::current()) {
  emulator::arrive_named(id, threads, place);
}

/// A value through the emulator's 64-bit exchange.
template <class T>
BRANCHSAE_DEVICE T exchange(emulator::Shuffle kind, T value, int by, int width, emulator::Place place) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8));
  using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  const uint64_t result = emulator::shuffle(kind, std::bit_cast<Bits>(value), by, width, place);
  return std::bit_cast<T>(static_cast<Bits>(result));
}

template <class T>
BRANCHSAE_DEVICE T shuffle(T value, int from_lane, int width = kWarp,
                           emulator::Place place = emulator::Place::current()) {
  return exchange(emulator::Shuffle::kFrom, value, from_lane, width, place);
}
template <class T>
BRANCHSAE_DEVICE T shuffle_xor(T value, int lane_mask, int width = kWarp,
                               emulator::Place place = emulator::Place::current()) {
  return exchange(emulator::Shuffle::kXor, value, lane_mask, width, place);
}
template <class T>
BRANCHSAE_DEVICE T shuffle_up(T value, int by, int width = kWarp,
                              emulator::Place place = emulator::Place::current()) {
  return exchange(emulator::Shuffle::kUp, value, by, width, place);
}
template <class T>
BRANCHSAE_DEVICE T shuffle_down(T value, int by, int width = kWarp,
                                emulator::Place place = emulator::Place::current()) {
  return exchange(emulator::Shuffle::kDown, value, by, width, place);
}
BRANCHSAE_DEVICE uint32_t ballot(bool value, emulator::Place place = emulator::Place::current()) {
  return emulator::ballot(value, place);
}
BRANCHSAE_DEVICE bool any(bool value, emulator::Place place = emulator::Place::current()) {
  return emulator::ballot(value, place) != 0;
}
BRANCHSAE_DEVICE bool all(bool value, emulator::Place place = emulator::Place::current()) {
  return emulator::ballot(value, place) == kAllLanes;
}

template <class T>
BRANCHSAE_DEVICE T warp_sum(T value, emulator::Place place = emulator::Place::current()) {
  for (int mask = kWarp / 2; mask > 0; mask /= 2) value += shuffle_xor(value, mask, kWarp, place);
  return value;
}

BRANCHSAE_DEVICE int32_t atomic_add(int32_t* target, int32_t value,
                                    emulator::Place place = emulator::Place::current()) {
  emulator::check_global(target, sizeof *target, place);
  const int32_t old = *target;
  *target = static_cast<int32_t>(static_cast<uint32_t>(old) + static_cast<uint32_t>(value));
  return old;
}
BRANCHSAE_DEVICE uint32_t atomic_or(uint32_t* target, uint32_t value,
                                    emulator::Place place = emulator::Place::current()) {
  emulator::check_global(target, sizeof *target, place);
  const uint32_t old = *target;
  *target = old | value;
  return old;
}
BRANCHSAE_DEVICE int32_t atomic_max(int32_t* target, int32_t value,
                                    emulator::Place place = emulator::Place::current()) {
  emulator::check_global(target, sizeof *target, place);
  const int32_t old = *target;
  if (value > old) *target = value;
  return old;
}

}  // namespace branchsae::cuda
