#pragma once
// What compute capability 9.0a adds: barriers in shared memory that count bytes (mbarrier), copies by the
// copy engine (TMA) and products of four warps that read shared memory by themselves (wgmma). Kernels on it
// are compiled for every architecture and do nothing elsewhere:
//   if constexpr (kHopper) { ... }
// A product's operands lie in shared memory as TMA puts them: rows of 128 bytes (64 elements), whose 16-byte
// pieces are exchanged by the row's number modulo 8 (128-byte swizzle); tiles start at multiples of 1024
// bytes.
#include "cuda/arch/smem.cuh"
#include "cuda/tensor_map.h"

namespace branchsae::cuda {

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
constexpr bool kHopper = true;
#define BRANCHSAE_HOPPER(...) asm volatile(__VA_ARGS__)
#else
constexpr bool kHopper = false;
#define BRANCHSAE_HOPPER(...) __trap()
#endif

/// What such a kernel does elsewhere, so that a launch by mistake is an error.
BRANCHSAE_DEVICE void stop_without_hopper() {
  __trap();
}

constexpr int kWarpGroup = 128;  ///< threads of a product: warps 4i .. 4i + 3

// Barriers in shared memory. A phase ends when `arrivals` threads have arrived and all bytes announced have
// come; then the next begins. Phases are named by their parity, 0 first. A wait for parity 1 of a fresh
// barrier does not wait.

/// One thread, before anybody uses it; then init_mbarriers_done() by the same thread and sync_block().
BRANCHSAE_DEVICE void mbarrier_init(Smem<uint64_t> barriers, int i, int arrivals) {
  BRANCHSAE_HOPPER("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barriers.address(i)), "r"(arrivals)
                   : "memory");
}
/// Makes them visible to the copy engine.
BRANCHSAE_DEVICE void init_mbarriers_done() {
  BRANCHSAE_HOPPER("fence.mbarrier_init.release.cluster;" ::: "memory");
}
/// What this thread did before, is seen by those who wait for this phase.
BRANCHSAE_DEVICE void mbarrier_arrive(Smem<uint64_t> barriers, int i) {
  BRANCHSAE_HOPPER(
      "{\n.reg .b64 state;\nmbarrier.arrive.shared::cta.b64 state, [%0];\n}" ::"r"(barriers.address(i))
      : "memory");
}
/// Announces `bytes` for this phase, then arrives.
BRANCHSAE_DEVICE void mbarrier_arrive_expect(Smem<uint64_t> barriers, int i, int bytes) {
  BRANCHSAE_HOPPER("{\n.reg .b64 state;\nmbarrier.arrive.expect_tx.shared::cta.b64 state, [%0], %1;\n}" ::"r"(
                       barriers.address(i)),
                   "r"(bytes)
                   : "memory");
}
/// Until the phase of this parity has ended.
BRANCHSAE_DEVICE void mbarrier_wait(Smem<uint64_t> barriers, int i, uint32_t parity) {
  [[maybe_unused]] const uint32_t address = barriers.address(i);
  uint32_t done = 0;
  do {
    BRANCHSAE_HOPPER(
        "{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
        : "=r"(done)
        : "r"(address), "r"(parity)
        : "memory");
  } while (done == 0);
}

/// Shared memory that threads wrote is seen by the copy engine and by wgmma: by the writer, before the
/// barrier that tells of it.
BRANCHSAE_DEVICE void fence_async_proxy() {
  BRANCHSAE_HOPPER("fence.proxy.async.shared::cta;" ::: "memory");
}

// Copies by one thread, whose bytes count for the phase of a barrier.

/// Once per block and map that lies in device memory, by the thread that copies, before its first copy.
BRANCHSAE_DEVICE void fence_tensor_map(const TensorMap* map) {
  BRANCHSAE_HOPPER("fence.proxy.tensormap::generic.acquire.gpu [%0], 128;" ::"l"(map) : "memory");
}
BRANCHSAE_DEVICE void prefetch_tensor_map(const TensorMap* map) {
  BRANCHSAE_HOPPER("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}
/// The box whose first element is [row, column] to element `at`, a multiple of 1024 bytes. Counts box_rows *
/// 128 bytes, zeros outside of the matrix included.
template <class T>
BRANCHSAE_DEVICE void copy_box(Smem<T> to, int at, const TensorMap* map, int row, int column,
                               Smem<uint64_t> barriers, int i) {
  BRANCHSAE_HOPPER(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], "
      "[%4];" ::"r"(to.address(at)),
      "l"(map), "r"(column), "r"(row), "r"(barriers.address(i))
      : "memory");
}
/// `bytes`, a multiple of 16, from `from` to element `at`, both at multiples of 16 bytes.
template <class T>
BRANCHSAE_DEVICE void copy_bulk(Smem<T> to, int at, const void* from, int bytes, Smem<uint64_t> barriers,
                                int i) {
  BRANCHSAE_HOPPER(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
          to.address(at)),
      "l"(from), "r"(bytes), "r"(barriers.address(i))
      : "memory");
}

// Products of a warp group (four warps, all of which do the same). Order: wgmma_fence(), products,
// wgmma_commit(), wgmma_wait(). Accumulators belong to the product from its start to the wait.

/// How a product finds rows of 128 bytes at element `at` of `tile`. The k-th block of 16 columns: add 2k.
template <class T>
BRANCHSAE_DEVICE uint64_t matrix_descriptor(Smem<T> tile, int at) {
  constexpr uint64_t kSwizzle128 = uint64_t{1} << 62;
  constexpr uint64_t kGroupOfRows = uint64_t{1024 >> 4} << 32;  // from 8 rows to the next 8
  constexpr uint64_t kUnused = uint64_t{1} << 16;
  return kSwizzle128 | kGroupOfRows | kUnused | (tile.address(at) & 0x3ffffU) >> 4;
}

/// Registers that threads wrote are seen by the products after it.
BRANCHSAE_DEVICE void wgmma_fence() {
  BRANCHSAE_HOPPER("wgmma.fence.sync.aligned;" ::: "memory");
}
/// Closes a group of products.
BRANCHSAE_DEVICE void wgmma_commit() {
  BRANCHSAE_HOPPER("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/// Keeps the compiler from moving or copying accumulators across; before the first product and after the
/// wait.
template <int Count>
BRANCHSAE_DEVICE void keep_registers(float (&c)[Count]) {
#pragma unroll
  for (int i = 0; i < Count; ++i) asm volatile("" : "+f"(c[i])::"memory");
}
/// Until all but the newest `Pending` groups are done.
template <int Pending>
BRANCHSAE_DEVICE void wgmma_wait() {
  BRANCHSAE_HOPPER("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending) : "memory");
}

// Operands of the instruction: "%t0,...,%t9" and eight or 32 accumulators.
#define BRANCHSAE_TEN(t) \
  "%" #t "0,%" #t "1,%" #t "2,%" #t "3,%" #t "4,%" #t "5,%" #t "6,%" #t "7,%" #t "8,%" #t "9"
#define BRANCHSAE_SUMS_8(c, i)                                                                \
  "+f"(c[i]), "+f"(c[i + 1]), "+f"(c[i + 2]), "+f"(c[i + 3]), "+f"(c[i + 4]), "+f"(c[i + 5]), \
      "+f"(c[i + 6]), "+f"(c[i + 7])
#define BRANCHSAE_SUMS_32(c, i) \
  BRANCHSAE_SUMS_8(c, i), BRANCHSAE_SUMS_8(c, i + 8), BRANCHSAE_SUMS_8(c, i + 16), BRANCHSAE_SUMS_8(c, i + 24)

/// c += a b, or c = a b: a [64, 16], b [N, 16] (rows are columns of c), bf16, float sums. Warp w of the group
/// gets rows 16w..16w + 15 of c [64, N]; with g = lane / 4 and t = lane % 4, c[4j + 2h + i] is row 16w + g +
/// 8h, column 8j + 2t + i. Here N = 64; below 128.
BRANCHSAE_DEVICE void wgmma_bf16(float (&c)[32], uint64_t a, uint64_t b, bool accumulate = true) {
  BRANCHSAE_HOPPER(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" BRANCHSAE_TEN() "," BRANCHSAE_TEN(
          1) "," BRANCHSAE_TEN(2) ",%30,%31}, %32, %33, p, 1, 1, 0, 0;\n}"
      : BRANCHSAE_SUMS_32(c, 0)
      : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)));
}
BRANCHSAE_DEVICE void wgmma_bf16(float (&c)[64], uint64_t a, uint64_t b, bool accumulate = true) {
  BRANCHSAE_HOPPER(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" BRANCHSAE_TEN() "," BRANCHSAE_TEN(1) "," BRANCHSAE_TEN(
          2) "," BRANCHSAE_TEN(3) "," BRANCHSAE_TEN(4) "," BRANCHSAE_TEN(5) ",%60,%61,%62,%63}, %64, %65, p, 1, 1, 0, "
                                                                            "0;\n}"
      : BRANCHSAE_SUMS_32(c, 0), BRANCHSAE_SUMS_32(c, 32)
      : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)));
}
#undef BRANCHSAE_SUMS_32
#undef BRANCHSAE_SUMS_8
#undef BRANCHSAE_TEN

/// Registers a thread of this warp group may use from here on, a multiple of 8 in 24..256; the kernel's
/// launch bounds say how many it starts with.
template <int Count>
BRANCHSAE_DEVICE void raise_registers() {
  BRANCHSAE_HOPPER("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Count));
}
template <int Count>
BRANCHSAE_DEVICE void lower_registers() {
  BRANCHSAE_HOPPER("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Count));
}

}  // namespace branchsae::cuda
