#pragma once
/// Twin of cuda/arch/async.cuh for the emulator.
#include "cuda/arch/smem.cuh"

namespace branchsae::cuda {

template <class T>
BRANCHSAE_DEVICE void copy_async_16(Smem<T> to, int at, const void* from, bool valid = true,
                                    emulator::Place place = emulator::Place::current()) {
  emulator::copy_async_16(to.span(), to.at(at), from, valid, place);
}
BRANCHSAE_DEVICE void commit_async() {
  emulator::commit_async();
}
template <int Pending>
BRANCHSAE_DEVICE void wait_async() {
  emulator::wait_async(Pending);
}

}  // namespace branchsae::cuda
