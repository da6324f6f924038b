#pragma once
/// Twin of cuda/arch/hopper.cuh for the emulator.
#include "cuda/arch/smem.cuh"
#include "cuda/tensor_map.h"
#include "tests/emulator/hopper.h"

namespace branchsae::cuda {

constexpr bool kHopper = true;

BRANCHSAE_DEVICE void stop_without_hopper() {}

constexpr int kWarpGroup = 128;

BRANCHSAE_DEVICE void mbarrier_init(Smem<uint64_t> barriers, int i, int arrivals,
                                    emulator::Place place = emulator::Place::current()) {
  emulator::mbarrier_init(barriers.span(), i, arrivals, place);
}
BRANCHSAE_DEVICE void init_mbarriers_done() {}
BRANCHSAE_DEVICE void mbarrier_arrive(Smem<uint64_t> barriers, int i,
                                      emulator::Place place = emulator::Place::current()) {
  emulator::mbarrier_arrive(barriers.span(), i, 0, place);
}
BRANCHSAE_DEVICE void mbarrier_arrive_expect(Smem<uint64_t> barriers, int i, int bytes,
                                             emulator::Place place = emulator::Place::current()) {
  emulator::mbarrier_arrive(barriers.span(), i, bytes, place);
}
BRANCHSAE_DEVICE void mbarrier_wait(Smem<uint64_t> barriers, int i, uint32_t parity,
                                    emulator::Place place = emulator::Place::current()) {
  emulator::mbarrier_wait(barriers.span(), i, parity, place);
}

BRANCHSAE_DEVICE void fence_async_proxy() {}

BRANCHSAE_DEVICE void fence_tensor_map(const TensorMap* map,
                                       emulator::Place place = emulator::Place::current()) {
  emulator::check_global(map, alignof(TensorMap), place);
}
BRANCHSAE_DEVICE void prefetch_tensor_map(const TensorMap* map,
                                          emulator::Place place = emulator::Place::current()) {
  emulator::check_global(map, alignof(TensorMap), place);
}
template <class T>
BRANCHSAE_DEVICE void copy_box(Smem<T> to, int at, const TensorMap* map, int row, int column,
                               Smem<uint64_t> barriers, int i,
                               emulator::Place place = emulator::Place::current()) {
  emulator::copy_box(to.span(), to.at(at), map, row, column, barriers.span(), i, place);
}
template <class T>
BRANCHSAE_DEVICE void copy_bulk(Smem<T> to, int at, const void* from, int bytes, Smem<uint64_t> barriers,
                                int i, emulator::Place place = emulator::Place::current()) {
  emulator::copy_bulk(to.span(), to.at(at), from, bytes, barriers.span(), i, place);
}

template <class T>
BRANCHSAE_DEVICE uint64_t matrix_descriptor(Smem<T> tile, int at) {
  constexpr uint64_t kSwizzle128 = uint64_t{1} << 62;
  constexpr uint64_t kGroupOfRows = uint64_t{1024 >> 4} << 32;
  constexpr uint64_t kUnused = uint64_t{1} << 16;
  return kSwizzle128 | kGroupOfRows | kUnused | (tile.address(at) & 0x3ffffU) >> 4;
}

BRANCHSAE_DEVICE void wgmma_fence(emulator::Place place = emulator::Place::current()) {
  emulator::wgmma_fence(place);
}
BRANCHSAE_DEVICE void wgmma_commit(emulator::Place place = emulator::Place::current()) {
  emulator::wgmma_commit(place);
}
template <int Count>
BRANCHSAE_DEVICE void keep_registers(float (&)[Count]) {}
template <int Pending>
BRANCHSAE_DEVICE void wgmma_wait(emulator::Place place = emulator::Place::current()) {
  emulator::wgmma_wait(Pending, place);
}

BRANCHSAE_DEVICE void wgmma_bf16(float (&c)[32], uint64_t a, uint64_t b, bool accumulate = true,
                                 emulator::Place place = emulator::Place::current()) {
  emulator::wgmma_bf16(c, 64, a, b, accumulate, place);
}
BRANCHSAE_DEVICE void wgmma_bf16(float (&c)[64], uint64_t a, uint64_t b, bool accumulate = true,
                                 emulator::Place place = emulator::Place::current()) {
  emulator::wgmma_bf16(c, 128, a, b, accumulate, place);
}

template <int Count>
BRANCHSAE_DEVICE void raise_registers(emulator::Place place = emulator::Place::current()) {
  emulator::set_registers(Count, place);
}
template <int Count>
BRANCHSAE_DEVICE void lower_registers(emulator::Place place = emulator::Place::current()) {
  emulator::set_registers(Count, place);
}

}  // namespace branchsae::cuda
