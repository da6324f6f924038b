#pragma once
/// What the twins of cuda/arch call.
#include <cstdint>

#include "tests/emulator/failure.h"
#include "tests/emulator/shared_memory.h"

namespace branchsae::emulator {

int lane_id();
int warp_id();

void sync_warp(const Place& place);
void sync_block(const Place& place);
int sync_block_count(bool value, const Place& place);
void sync_named(int id, int threads, const Place& place);
void arrive_named(int id, int threads, const Place& place);

enum class Shuffle { kFrom, kXor, kUp, kDown };
uint64_t shuffle(Shuffle kind, uint64_t value, int by, int width, const Place& place);
uint32_t ballot(bool value, const Place& place);

/// An access of `bytes` at `address` in global memory must lie on a multiple of `bytes`.
void check_global(const void* address, int64_t bytes, const Place& place);

/// c += a b of one warp; fragments as in cuda/arch/mma.cuh.
void mma_bf16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const Place& place);
void mma_tf32(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const Place& place);
/// `matrices` 8x8 matrices of 16-bit elements; this lane's address is `at` bytes into the span.
void load_matrices(uint32_t* r, int matrices, Span span, int64_t at, const Place& place);

/// cp.async: 16 bytes; zeros when not valid.
void copy_async_16(Span span, int64_t at, const void* from, bool valid, const Place& place);
void commit_async();
void wait_async(int pending);

}  // namespace branchsae::emulator
