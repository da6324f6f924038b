/// Kernels with one mistake each, which the emulator must name; and the same kernels without it, which must
/// run in every order.
#include <doctest/doctest.h>

#include "cuda/arch/async.cuh"
#include "cuda/arch/mma.cuh"
#include "cuda/arch/warp.cuh"
#include "tests/emulator/planted.h"

using namespace branchsae::cuda;
using namespace branchsae::cuda::test;
using branchsae::emulator::contains;
using branchsae::emulator::verdict;

namespace {

constexpr LaunchShape kTwoWarps{.grid = 2, .block = 64, .smem_bytes = 1024};

/// The threads hand values over through shared memory. `Barrier` is left out in the planted version.
template <bool Barrier>
__global__ void reverse_kernel(int* out) {
  SmemArena arena;
  auto values = arena.take<int>(64);
  const int thread = static_cast<int>(threadIdx.x);
  values.store(thread, thread * 3);
  if constexpr (Barrier) sync_block();
  out[blockIdx.x * 64 + threadIdx.x] = values.load(63 - thread);
}

/// The same within a warp, where lanes need sync_warp().
template <bool Barrier>
__global__ void neighbour_kernel(int* out) {
  SmemArena arena;
  auto values = arena.take<int>(64);
  const int thread = static_cast<int>(threadIdx.x);
  values.store(thread, thread);
  if constexpr (Barrier) sync_warp();
  out[blockIdx.x * 64 + threadIdx.x] = values.load(thread ^ 1);
}

/// Two rounds over one buffer. Without the second barrier a fast warp overwrites what a slow one has not
/// read; the answer is right all the same, since both rounds store the same.
template <bool Barrier>
__global__ void rounds_kernel(int* out) {
  SmemArena arena;
  auto values = arena.take<int>(64);
  const int thread = static_cast<int>(threadIdx.x);
  int sum = 0;
  for (int round = 0; round < 2; ++round) {
    values.store(thread, thread);
    sync_block();
    sum += values.load(63 - thread);
    if constexpr (Barrier) sync_block();
  }
  out[blockIdx.x * 64 + threadIdx.x] = sum;
}

template <int Past>
__global__ void bounds_kernel(int* out) {
  SmemArena arena;
  auto first = arena.take<int>(63 + Past);
  auto second = arena.take<int>(64);
  const int thread = static_cast<int>(threadIdx.x);
  second.store(thread, 0);
  if (thread < 64 - Past) first.store(thread, 1);
  if (thread == 63) first.store(63, 2);
  out[blockIdx.x * 64 + threadIdx.x] = second.load(thread);
}

__global__ void too_much_kernel() {
  SmemArena arena;
  arena.take<int>(200);
  arena.take<int>(57);
}

template <bool Divergent>
__global__ void shuffle_kernel(int* out) {
  const int lane = lane_id();
  int value = lane;
  if constexpr (Divergent) {
    if (lane < 16) value = shuffle_xor(value, 1);
    value = shuffle_xor(value, 2);
  } else {
    value = shuffle_xor(value, 1);
    value = shuffle_xor(value, 2);
  }
  out[blockIdx.x * 64 + threadIdx.x] = value;
}

__global__ void early_exit_kernel() {
  if (lane_id() == 31) return;
  ballot(true);
}

template <bool All>
__global__ void sum_kernel(int* out) {
  SmemArena arena;
  auto values = arena.take<int>(64);
  const int thread = static_cast<int>(threadIdx.x);
  if (All || thread != 40) values.store(thread, 1);
  sync_block();
  int sum = 0;
  for (int i = 0; i < 64; ++i) sum += values.load(i);
  out[blockIdx.x * 64 + threadIdx.x] = sum;
}

template <bool Wait>
__global__ void copy_kernel(const int* in, int* out) {
  SmemArena arena;
  auto values = arena.take<int>(256);
  const int thread = static_cast<int>(threadIdx.x);
  copy_async_16(values, thread * 4, in + thread * 4);
  commit_async();
  if constexpr (Wait) wait_async<0>();
  out[blockIdx.x * 64 + threadIdx.x] = values.load(thread * 4);
}

/// Waiting helps the thread that copied; the others need a barrier, too.
template <bool Barrier>
__global__ void copy_for_others_kernel(const int* in, int* out) {
  SmemArena arena;
  auto values = arena.take<int>(256);
  const int thread = static_cast<int>(threadIdx.x);
  copy_async_16(values, thread * 4, in + thread * 4);
  commit_async();
  wait_async<0>();
  if constexpr (Barrier) sync_block();
  out[blockIdx.x * 64 + threadIdx.x] = values.load(255 - thread);
}

/// Two groups of copies; one too many may be left under way.
template <int Pending>
__global__ void pipeline_kernel(const int* in, int* out) {
  SmemArena arena;
  auto values = arena.take<int>(256);
  const int thread = static_cast<int>(threadIdx.x);
  if (thread < 32) {
    copy_async_16(values, thread * 4, in + thread * 4);
    commit_async();
    copy_async_16(values, 128 + thread * 4, in + 128 + thread * 4);
    commit_async();
    wait_async<Pending>();
    out[blockIdx.x * 64 + threadIdx.x] = values.load(thread * 4) + values.load(128 + thread * 4);
    wait_async<0>();
  }
}

template <bool Same>
__global__ void deadlock_kernel() {
  if (Same || threadIdx.x < 32) {
    sync_block();
  } else {
    sync_named(1, 64);
  }
}

__global__ void ended_kernel() {
  if (threadIdx.x >= 32) return;
  sync_block();
}

template <int Shift>
__global__ void aligned_kernel(const float* in, float* out) {
  const float4 four = load_read_only(reinterpret_cast<const float4*>(in + Shift));
  out[blockIdx.x * 64 + threadIdx.x] = four.x;
}

template <int Shift>
__global__ void aligned_smem_kernel(float* out) {
  SmemArena arena;
  auto values = arena.take<float>(128);
  const int thread = static_cast<int>(threadIdx.x);
  values.store(thread, 1.0F);
  values.store(64 + thread, 1.0F);
  sync_block();
  out[blockIdx.x * 64 + threadIdx.x] = values.load_as<float4>(Shift).x;
}

template <int Past>
__global__ void global_kernel(int* out, int count) {
  const int at = static_cast<int>(blockIdx.x * 64 + threadIdx.x);
  if (at < count + Past) out[at] = at;
}

template <bool Barrier>
__global__ void histogram_kernel(int* out) {
  SmemArena arena;
  auto counts = arena.take<int>(8);
  const int thread = static_cast<int>(threadIdx.x);
  if (thread < 8) counts.store(thread, 0);
  sync_block();
  counts.add_atomic(thread % 8, 1);
  if constexpr (Barrier) sync_block();
  out[blockIdx.x * 64 + threadIdx.x] = counts.load(thread % 8);
}

template <bool Sync>
__global__ void matrix_kernel(uint32_t* out) {
  SmemArena arena;
  auto rows = arena.take<uint32_t>(128);
  const int lane = lane_id();
  for (int i = 0; i < 4; ++i) rows.store(lane * 4 + i, static_cast<uint32_t>(lane * 4 + i));
  if constexpr (Sync) sync_warp();
  uint32_t r[4];
  load_matrices_4(r, rows, lane * 4);
  for (int i = 0; i < 4; ++i) out[lane * 4 + i] = r[i];
}

}  // namespace

TEST_CASE("a missing barrier between warps is found") {
  const Buffer<int> out(128);
  const std::string said = verdict(reverse_kernel<false>, kTwoWarps, out.data());
  CHECK((said.find("with no barrier in between") != std::string::npos ||
         said.find("nothing was written to") != std::string::npos));
  CHECK(contains(said, "planted: block "));
  CHECK(verdict(reverse_kernel<true>, kTwoWarps, out.data()) == "");
  CHECK(out.download()[0] == 189);
}

TEST_CASE("a missing sync_warp between lanes is found") {
  const Buffer<int> out(128);
  CHECK(verdict(neighbour_kernel<false>, kTwoWarps, out.data()) != "");
  CHECK(verdict(neighbour_kernel<true>, kTwoWarps, out.data()) == "");
}

TEST_CASE("a missing barrier is found although the answer is right") {
  const Buffer<int> out(128);
  CHECK(contains(verdict(rounds_kernel<false>, kTwoWarps, out.data()), "with no barrier in between"));
  CHECK(verdict(rounds_kernel<true>, kTwoWarps, out.data()) == "");
}

TEST_CASE("one element past a piece of shared memory is found, although it hits memory of the block's") {
  const Buffer<int> out(128);
  CHECK(contains(verdict(bounds_kernel<0>, kTwoWarps, out.data()),
                 "4 bytes at byte 252 of a piece of 252 bytes"));
  CHECK(verdict(bounds_kernel<1>, kTwoWarps, out.data()) == "");
  CHECK(contains(verdict(too_much_kernel, kTwoWarps),
                 "takes 1124 bytes of shared memory, but the launch gave 1024"));
}

TEST_CASE("one element past an allocation is found and named with the kernel") {
  void* memory = nullptr;
  REQUIRE(cudaMalloc(&memory, 100 * sizeof(int)) == cudaSuccess);
  CHECK(verdict(global_kernel<0>, kTwoWarps, static_cast<int*>(memory), 100) == "");
  CHECK(contains(verdict(global_kernel<1>, kTwoWarps, static_cast<int*>(memory), 100),
                 "planted: a write 0 bytes past the end of 400 bytes of device memory"));
  // Repaired before it is freed, which would report it again.
  static_cast<unsigned char*>(memory)[400] = static_cast<unsigned char*>(memory)[401] = 0xa5;
  static_cast<unsigned char*>(memory)[402] = static_cast<unsigned char*>(memory)[403] = 0xa5;
  CHECK(cudaFree(memory) == cudaSuccess);
}

TEST_CASE("a shuffle in a divergent branch is found") {
  const Buffer<int> out(128);
  const std::string said = verdict(shuffle_kernel<true>, kTwoWarps, out.data());
  CHECK(contains(said, "the warp is split"));
  CHECK(contains(said, "shuffle_xor(32) at "));
  CHECK(verdict(shuffle_kernel<false>, kTwoWarps, out.data()) == "");
  CHECK(verdict(early_exit_kernel, kTwoWarps) != "");
}

TEST_CASE("a read of what nobody wrote is found") {
  const Buffer<int> out(128);
  CHECK(contains(verdict(sum_kernel<false>, kTwoWarps, out.data()),
                 "a read of byte 160 of shared memory, which nothing"));
  CHECK(verdict(sum_kernel<true>, kTwoWarps, out.data()) == "");
}

TEST_CASE("a missing wait for cp.async is found, whenever the bytes move") {
  const Buffer<int> in(std::vector<int>(256, 7)), out(128);
  CHECK(contains(verdict(copy_kernel<false>, kTwoWarps, in.data(), out.data()), "a copy is under way"));
  CHECK(verdict(copy_kernel<true>, kTwoWarps, in.data(), out.data()) == "");
  CHECK(verdict(copy_for_others_kernel<false>, kTwoWarps, in.data(), out.data()) != "");
  CHECK(verdict(copy_for_others_kernel<true>, kTwoWarps, in.data(), out.data()) == "");
  CHECK(contains(verdict(pipeline_kernel<1>, kTwoWarps, in.data(), out.data()), "a copy is under way"));
  CHECK(verdict(pipeline_kernel<0>, kTwoWarps, in.data(), out.data()) == "");
}

TEST_CASE("without race checks late copies still show in the values") {
  const Buffer<int> in(std::vector<int>(256, 7)), out(128);
  const branchsae::emulator::Settings before = branchsae::emulator::settings();
  branchsae::emulator::settings().race_checks = false;
  branchsae::emulator::settings().late_copies = true;
  launch(copy_kernel<false>, "planted", kTwoWarps, stream(), in.data(), out.data());
  branchsae::emulator::settings() = before;
  CHECK(out.download()[5] == -1);
}

TEST_CASE("a deadlock is told apart from work, with who waits where") {
  const std::string said = verdict(deadlock_kernel<false>, kTwoWarps);
  CHECK(contains(said, "deadlock: warp 0: lanes 0-31 wait in sync_block(0) at "));
  CHECK(contains(said, "warp 1: lanes 0-31 wait in sync_named(1) at "));
  CHECK(verdict(deadlock_kernel<true>, kTwoWarps) == "");
  CHECK(contains(verdict(ended_kernel, kTwoWarps), "warp 1: lanes 0-31 have ended"));
}

TEST_CASE("accesses of several words must be aligned") {
  const Buffer<float> in(std::vector<float>(16, 1.0F)), out(128);
  CHECK(
      contains(verdict(aligned_kernel<1>, kTwoWarps, in.data(), out.data()), "16 bytes of global memory at"));
  CHECK(verdict(aligned_kernel<4>, kTwoWarps, in.data(), out.data()) == "");
  CHECK(contains(verdict(aligned_smem_kernel<2>, kTwoWarps, out.data()), "which is no multiple of 16"));
  CHECK(verdict(aligned_smem_kernel<4>, kTwoWarps, out.data()) == "");
}

TEST_CASE("atomic updates race with plain accesses, not with each other") {
  const Buffer<int> out(128);
  CHECK(contains(verdict(histogram_kernel<false>, kTwoWarps, out.data()), "with no barrier in between"));
  CHECK(verdict(histogram_kernel<true>, kTwoWarps, out.data()) == "");
  CHECK(out.download() == std::vector<int>(128, 8));
}

TEST_CASE("ldmatrix needs the rows of all lanes to be there") {
  const Buffer<uint32_t> out(128);
  constexpr LaunchShape kOneWarp{.grid = 1, .block = 32, .smem_bytes = 512};
  CHECK(contains(verdict(matrix_kernel<false>, kOneWarp, out.data()), "by the warp as a whole"));
  CHECK(verdict(matrix_kernel<true>, kOneWarp, out.data()) == "");
}
