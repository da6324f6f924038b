#pragma once
// cp.async: copies from global to shared memory that go on while the thread computes (sm_80).
#include "cuda/arch/smem.cuh"

namespace branchsae::cuda {

/// 16 bytes from `from` (16-byte aligned, past the L1 cache) to element `at` of `to`; zeros when not `valid`,
/// and `from` is then not read.
template <class T>
BRANCHSAE_DEVICE void copy_async_16(Smem<T> to, int at, const void* from, bool valid = true) {
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to.address(at)), "l"(from), "r"(bytes)
               : "memory");
}
/// Closes this thread's group of copies.
BRANCHSAE_DEVICE void commit_async() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
/// Until all but the newest `Pending` groups of this thread have landed; other threads see them after a
/// barrier.
template <int Pending>
BRANCHSAE_DEVICE void wait_async() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}

}  // namespace branchsae::cuda
