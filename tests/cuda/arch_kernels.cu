#include "tests/cuda/arch_kernels.h"

#include "cuda/arch/async.cuh"
#include "cuda/arch/mma.cuh"
#include "cuda/arch/warp.cuh"
#include "cuda/launch.h"

namespace branchsae::cuda::test {
namespace {

__global__ void convert_kernel(const float* in, uint32_t* packed, uint32_t* tf32) {
  const int i = static_cast<int>(threadIdx.x);
  packed[i] = pack_bf16(in[2 * i], in[2 * i + 1]);
  if (to_bf16(in[2 * i]).bits != (packed[i] & 0xffffU)) packed[i] = 0xdead;
  tf32[2 * i] = to_tf32(in[2 * i]);
  tf32[2 * i + 1] = to_tf32(in[2 * i + 1]);
}

__global__ void arithmetic_kernel(const float* a, const float* b, const float* c, float* out) {
  const int i = static_cast<int>(threadIdx.x);
  out[4 * i] = fma(a[i], b[i], c[i]);
  out[4 * i + 1] = divide(a[i], b[i]);
  out[4 * i + 2] = square_root(a[i]);
  out[4 * i + 3] = warp_sum(a[i]) + static_cast<float>(warp_sum(1.0));
}

__global__ void bits_kernel(const uint32_t* in, int32_t* out) {
  const uint32_t word = load_read_only(in + threadIdx.x);
  int32_t* mine = out + 5 * threadIdx.x;
  mine[0] = count_bits(word);
  mine[1] = lowest_bit(word);
  mine[2] = leading_zeros(word);
  mine[3] = is_finite(as_float(word)) ? 1 : 0;
  mine[4] = is_nan(as_float(word)) ? 1 : 0;
}

__global__ void exchange_kernel(int by, int width, uint32_t* out) {
  const int lane = lane_id();
  const auto value = static_cast<uint32_t>(100 + lane);
  uint32_t* mine = out + 8 * threadIdx.x;
  mine[0] = shuffle(value, by, width);
  mine[1] = shuffle_xor(value, by, width);
  mine[2] = shuffle_up(value, by, width);
  mine[3] = as_uint(shuffle_down(as_float(value), by, width));
  mine[4] = ballot(lane < by);
  mine[5] = any(lane < by) ? 1 : 0;
  mine[6] = all(lane < by) ? 1 : 0;
  mine[7] = static_cast<uint32_t>(sync_block_count(lane < by)) + (sync_block_or(lane < by) ? 1000 : 0);
}

__global__ void atomics_kernel(int32_t* sum, uint32_t* all_bits, int32_t* largest, int32_t* olds) {
  const auto thread = static_cast<int32_t>(blockIdx.x * blockDim.x + threadIdx.x);
  olds[atomic_add(sum, 1)] = 1;
  atomic_or(all_bits, 1U << thread % 32);
  atomic_max(largest, thread * 7 % 64);
}

__global__ void product_bf16_kernel(const uint16_t* a, const uint16_t* b, float* c) {
  SmemArena arena;
  auto rows_a = arena.take<uint16_t>(16 * 16), rows_b = arena.take<uint16_t>(8 * 16);
  const int lane = lane_id(), g = lane / 4, t = lane % 4;
  for (int i = lane; i < 16 * 16; i += kWarp) rows_a.store(i, a[i]);
  for (int i = lane; i < 8 * 16; i += kWarp) rows_b.store(i, b[i]);
  sync_warp();
  uint32_t fragment_a[4], fragment_b[2];
  load_matrices_4(fragment_a, rows_a, lane % 16 * 16 + lane / 16 * 8);
  load_matrices_2(fragment_b, rows_b, lane % 8 * 16 + lane / 8 % 2 * 8);
  float sums[4] = {c[g * 8 + 2 * t], c[g * 8 + 2 * t + 1], c[(g + 8) * 8 + 2 * t],
                   c[(g + 8) * 8 + 2 * t + 1]};
  mma_bf16(sums, fragment_a, fragment_b);
  c[g * 8 + 2 * t] = sums[0];
  c[g * 8 + 2 * t + 1] = sums[1];
  c[(g + 8) * 8 + 2 * t] = sums[2];
  c[(g + 8) * 8 + 2 * t + 1] = sums[3];
}

__global__ void product_tf32_kernel(const float* a, const float* b, float* c) {
  const int lane = lane_id(), g = lane / 4, t = lane % 4;
  const uint32_t fragment_a[4] = {to_tf32(a[g * 8 + t]), to_tf32(a[(g + 8) * 8 + t]),
                                  to_tf32(a[g * 8 + t + 4]), to_tf32(a[(g + 8) * 8 + t + 4])};
  const uint32_t fragment_b[2] = {to_tf32(b[g * 8 + t]), to_tf32(b[g * 8 + t + 4])};
  float sums[4] = {c[g * 8 + 2 * t], c[g * 8 + 2 * t + 1], c[(g + 8) * 8 + 2 * t],
                   c[(g + 8) * 8 + 2 * t + 1]};
  mma_tf32(sums, fragment_a, fragment_b);
  c[g * 8 + 2 * t] = sums[0];
  c[g * 8 + 2 * t + 1] = sums[1];
  c[(g + 8) * 8 + 2 * t] = sums[2];
  c[(g + 8) * 8 + 2 * t + 1] = sums[3];
}

__global__ void copies_kernel(const int32_t* in, int valid, int32_t* out) {
  SmemArena arena;
  auto words = arena.take<int32_t>(2 * 64 * 4);
  const int thread = static_cast<int>(threadIdx.x);
  for (int group = 0; group < 2; ++group) {
    const int row = group * 64 + thread;
    copy_async_16(words, row * 4, in + row * 4, row < valid);
    commit_async();
  }
  wait_async<1>();
  sync_block();
  for (int i = 0; i < 4; ++i) out[thread * 4 + i] = words.load((63 - thread) * 4 + i);
  wait_async<0>();
  sync_block();
  for (int i = 0; i < 4; ++i) out[256 + thread * 4 + i] = words.load(256 + (63 - thread) * 4 + i);
}

__global__ void shared_words_kernel(int32_t* out) {
  SmemArena arena;
  auto halves = arena.take<uint16_t>(128);
  auto wide = arena.take<uint4>(32);
  auto counts = arena.take<int32_t>(4);
  const int thread = static_cast<int>(threadIdx.x);
  // Neighbouring lanes write the halves of one word.
  halves.store(thread, static_cast<uint16_t>(thread));
  halves.store(64 + thread, static_cast<uint16_t>(1000 + thread));
  if (thread < 32) wide.store(thread, make_uint4(0, 1, 2, static_cast<uint32_t>(thread)));
  if (thread < 4) counts.store(thread, 10);
  sync_block();
  counts.add_atomic(thread % 4, thread);
  sync_block();
  auto upper = halves.part(64, 64);
  const uint32_t pair = upper.load_as<uint32_t>(thread / 2 * 2);
  const auto words = wide.as<uint32_t>();
  int32_t* mine = out + 4 * thread;
  mine[0] = static_cast<int32_t>(pair >> 16);
  mine[1] = static_cast<int32_t>(words.load(thread / 2 * 4 + 3));
  mine[2] = counts.load(thread % 4);
  mine[3] = static_cast<int32_t>(wide.load(thread / 2).y + halves.load(63 - thread));
}

__global__ void named_barriers_kernel(int32_t* out) {
  SmemArena arena;
  auto values = arena.take<int32_t>(128);
  const int thread = static_cast<int>(threadIdx.x);
  if (thread < 64) {
    values.store(thread, thread);
    arrive_named(1, 128);
    out[thread] = thread;
  } else {
    values.store(thread, thread);
    sync_named(2, 64);
    const int other = values.load(64 + (thread + 32) % 64);
    sync_named(1, 128);
    out[thread] = other * 1000 + values.load(127 - thread);
  }
}

constexpr int kWarpThreads = 32;

}  // namespace

void convert(const Buffer<float>& in, const Buffer<uint32_t>& packed, const Buffer<uint32_t>& tf32) {
  launch(convert_kernel, "convert", {.block = static_cast<int>(packed.size())}, stream(), in.data(),
         packed.data(), tf32.data());
}
void arithmetic(const Buffer<float>& a, const Buffer<float>& b, const Buffer<float>& c,
                const Buffer<float>& out) {
  launch(arithmetic_kernel, "arithmetic", {.block = kWarpThreads}, stream(), a.data(), b.data(), c.data(),
         out.data());
}
void bits(const Buffer<uint32_t>& in, const Buffer<int32_t>& out) {
  launch(bits_kernel, "bits", {.block = static_cast<int>(in.size())}, stream(), in.data(), out.data());
}
void exchanges(int by, int width, const Buffer<uint32_t>& out) {
  launch(exchange_kernel, "exchanges", {.block = 64}, stream(), by, width, out.data());
}
void atomics(const Buffer<int32_t>& sum, const Buffer<uint32_t>& all_bits, const Buffer<int32_t>& largest,
             const Buffer<int32_t>& olds) {
  launch(atomics_kernel, "atomics", {.grid = 4, .block = 64}, stream(), sum.data(), all_bits.data(),
         largest.data(), olds.data());
}
void product_bf16(const Buffer<uint16_t>& a, const Buffer<uint16_t>& b, const Buffer<float>& c) {
  launch(product_bf16_kernel, "product_bf16", {.block = kWarpThreads, .smem_bytes = 768}, stream(), a.data(),
         b.data(), c.data());
}
void product_tf32(const Buffer<float>& a, const Buffer<float>& b, const Buffer<float>& c) {
  launch(product_tf32_kernel, "product_tf32", {.block = kWarpThreads}, stream(), a.data(), b.data(),
         c.data());
}
void copies(const Buffer<int32_t>& in, int valid, const Buffer<int32_t>& out) {
  launch(copies_kernel, "copies", {.block = 64, .smem_bytes = 2048}, stream(), in.data(), valid, out.data());
}
void shared_words(const Buffer<int32_t>& out) {
  launch(shared_words_kernel, "shared_words", {.block = 64, .smem_bytes = 1024}, stream(), out.data());
}
void named_barriers(const Buffer<int32_t>& out) {
  launch(named_barriers_kernel, "named_barriers", {.block = 128, .smem_bytes = 512}, stream(), out.data());
}

}  // namespace branchsae::cuda::test
