#pragma once
/// Twin of cuda/arch/mma.cuh for the emulator.
#include "cuda/arch/smem.cuh"

namespace branchsae::cuda {

BRANCHSAE_DEVICE void mma_bf16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                               emulator::Place place = emulator::Place::current()) {
  emulator::mma_bf16(c, a, b, place);
}
BRANCHSAE_DEVICE void mma_tf32(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                               emulator::Place place = emulator::Place::current()) {
  emulator::mma_tf32(c, a, b, place);
}

template <class T>
BRANCHSAE_DEVICE void load_matrices_4(uint32_t (&r)[4], Smem<T> from, int at,
                                      emulator::Place place = emulator::Place::current()) {
  emulator::load_matrices(r, 4, from.span(), from.at(at), place);
}
template <class T>
BRANCHSAE_DEVICE void load_matrices_2(uint32_t (&r)[2], Smem<T> from, int at,
                                      emulator::Place place = emulator::Place::current()) {
  emulator::load_matrices(r, 2, from.span(), from.at(at), place);
}

}  // namespace branchsae::cuda
