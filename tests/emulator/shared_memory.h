#pragma once
/// A block's dynamic shared memory.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "tests/emulator/failure.h"
#include "tests/emulator/race_checker.h"

namespace branchsae::emulator {

class SharedMemory {
 public:
  static constexpr int64_t kAlignment = 1024;
  /// The memory of a new block of `warps`: `bytes` of it, contents undefined.
  void reset(int64_t bytes, int warps);
  int64_t bytes() const { return bytes_; }
  std::byte* data() { return data_; }
  /// Null when races are not checked.
  RaceChecker* races() { return checked_ ? &races_ : nullptr; }

 private:
  std::vector<std::byte> storage_;
  std::byte* data_ = nullptr;
  int64_t bytes_ = 0;
  bool checked_ = true;
  RaceChecker races_;
};

/// The part of shared memory that a Smem handle covers: [begin, end), in bytes from its start.
struct Span {
  uint32_t begin = 0, end = 0;
};

/// Where `bytes` at offset `at` of the span lie, after every check there is.
const std::byte* read_shared(Span span, int64_t at, uint32_t bytes, const Place& place);
std::byte* write_shared(Span span, int64_t at, uint32_t bytes, const Place& place);
/// For read-modify-write that other threads may do at the same time.
std::byte* update_shared(Span span, int64_t at, uint32_t bytes, const Place& place);
/// For instructions that read for the whole warp.
const std::byte* read_shared_as_warp(Span span, int64_t at, uint32_t bytes, const Place& place);
/// Bytes that a copy of the running thread's is going to write, from when it begins to when it has been
/// waited for.
std::byte* begin_shared_copy(Span span, int64_t at, uint32_t bytes, const Place& place);
void end_shared_copy(std::byte* to, uint32_t bytes);
/// The arena's next piece.
Span take_shared(int64_t begin, int64_t bytes, const Place& place);
/// Part of a span.
Span narrow_shared(Span span, int64_t at, int64_t bytes, const Place& place);
/// Checks bounds only, and bounds and alignment.
uint32_t check_shared_range(Span span, int64_t at, int64_t bytes, const Place& place);
uint32_t check_shared(Span span, int64_t at, uint32_t bytes, const Place& place);

}  // namespace branchsae::emulator
