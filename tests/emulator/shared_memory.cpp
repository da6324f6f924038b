#include "tests/emulator/shared_memory.h"

#include <fmt/format.h>

#include <cstring>

#include "tests/emulator/machine.h"

namespace branchsae::emulator {

void SharedMemory::reset(int64_t bytes, int warps) {
  const auto needed = static_cast<std::size_t>(bytes + kAlignment);
  if (storage_.size() < needed) storage_.resize(needed);
  const auto start = reinterpret_cast<uintptr_t>(storage_.data());
  data_ = storage_.data() + (kAlignment - static_cast<int64_t>(start % kAlignment)) % kAlignment;
  bytes_ = bytes;
  std::memset(data_, 0xff, static_cast<std::size_t>(bytes));
  checked_ = settings().race_checks;
  if (checked_) races_.reset(bytes, warps);
}

namespace {

Accessor this_thread() {
  return {running_thread->warp->id, 1U << running_thread->lane};
}

}  // namespace

Span take_shared(int64_t begin, int64_t bytes, const Place& place) {
  const int64_t given = running_block->shared().bytes();
  if (bytes < 0 || begin + bytes > given) {
    running_block->fail(
        fmt::format("takes {} bytes of shared memory, but the launch gave {}", begin + bytes, given), place);
  }
  return {static_cast<uint32_t>(begin), static_cast<uint32_t>(begin + bytes)};
}

Span narrow_shared(Span span, int64_t at, int64_t bytes, const Place& place) {
  const int64_t begin = span.begin + at;
  if (at < 0 || bytes < 0 || begin + bytes > span.end) {
    running_block->fail(
        fmt::format("a part of {} bytes from byte {} on of a piece of {} bytes of shared memory", bytes, at,
                    span.end - span.begin),
        place);
  }
  return {static_cast<uint32_t>(begin), static_cast<uint32_t>(begin + bytes)};
}

uint32_t check_shared_range(Span span, int64_t at, int64_t bytes, const Place& place) {
  const int64_t first = span.begin + at;
  if (at < 0 || first + bytes > span.end) {
    running_block->fail(fmt::format("{} bytes at byte {} of a piece of {} bytes of shared memory", bytes, at,
                                    span.end - span.begin),
                        place);
  }
  return static_cast<uint32_t>(first);
}

uint32_t check_shared(Span span, int64_t at, uint32_t bytes, const Place& place) {
  const uint32_t first = check_shared_range(span, at, bytes, place);
  if (first % bytes != 0) {
    running_block->fail(
        fmt::format("{} bytes at byte {} of shared memory, which is no multiple of {}", bytes, first, bytes),
        place);
  }
  return first;
}

const std::byte* read_shared(Span span, int64_t at, uint32_t bytes, const Place& place) {
  const uint32_t first = check_shared(span, at, bytes, place);
  SharedMemory& shared = running_block->shared();
  ++counters().smem_accesses;
  if (RaceChecker* races = shared.races()) races->read(first, bytes, this_thread(), place);
  return shared.data() + first;
}

std::byte* write_shared(Span span, int64_t at, uint32_t bytes, const Place& place) {
  const uint32_t first = check_shared(span, at, bytes, place);
  SharedMemory& shared = running_block->shared();
  ++counters().smem_accesses;
  if (RaceChecker* races = shared.races()) races->write(first, bytes, this_thread(), place);
  return shared.data() + first;
}

std::byte* update_shared(Span span, int64_t at, uint32_t bytes, const Place& place) {
  const uint32_t first = check_shared(span, at, bytes, place);
  SharedMemory& shared = running_block->shared();
  ++counters().smem_accesses;
  if (RaceChecker* races = shared.races()) races->update(first, bytes, this_thread(), place);
  return shared.data() + first;
}

const std::byte* read_shared_as_warp(Span span, int64_t at, uint32_t bytes, const Place& place) {
  const uint32_t first = check_shared(span, at, bytes, place);
  SharedMemory& shared = running_block->shared();
  if (RaceChecker* races = shared.races())
    races->read(first, bytes, {running_thread->warp->id, kEveryLane}, place);
  return shared.data() + first;
}

std::byte* begin_shared_copy(Span span, int64_t at, uint32_t bytes, const Place& place) {
  const uint32_t first = check_shared(span, at, bytes, place);
  SharedMemory& shared = running_block->shared();
  if (RaceChecker* races = shared.races()) races->begin_copy(first, bytes, this_thread(), place);
  std::memset(shared.data() + first, 0xff, bytes);
  return shared.data() + first;
}

void end_shared_copy(std::byte* to, uint32_t bytes) {
  SharedMemory& shared = running_block->shared();
  if (RaceChecker* races = shared.races()) races->end_copy(to - shared.data(), bytes, this_thread());
}

}  // namespace branchsae::emulator
