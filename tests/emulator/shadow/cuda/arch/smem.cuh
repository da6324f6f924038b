#pragma once
/// Twin of cuda/arch/smem.cuh for the emulator: every access is checked.
#include <cstring>
#include <type_traits>

#include "cuda/arch/types.cuh"
#include "tests/emulator/shared_memory.h"

namespace branchsae::cuda {

template <class T>
class Smem {
  static_assert(std::is_trivially_copyable_v<T>);
  static_assert(sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8 || sizeof(T) == 16);

 public:
  Smem() = default;
  explicit Smem(emulator::Span span) : span_(span) {}

  T load(int i, emulator::Place place = emulator::Place::current()) const { return load_as<T>(i, place); }
  void store(int i, T value, emulator::Place place = emulator::Place::current()) {
    store_as<T>(i, value, place);
  }
  template <class V>
  V load_as(int i, emulator::Place place = emulator::Place::current()) const {
    V value;
    std::memcpy(&value, emulator::read_shared(span_, at(i), sizeof(V), place), sizeof(V));
    return value;
  }
  template <class V>
  void store_as(int i, V value, emulator::Place place = emulator::Place::current()) {
    std::memcpy(emulator::write_shared(span_, at(i), sizeof(V), place), &value, sizeof(V));
  }
  T add_atomic(int i, T value, emulator::Place place = emulator::Place::current()) {
    static_assert(std::is_integral_v<T>);
    std::byte* target = emulator::update_shared(span_, at(i), sizeof(T), place);
    T old;
    std::memcpy(&old, target, sizeof(T));
    const T sum = static_cast<T>(static_cast<uint64_t>(old) + static_cast<uint64_t>(value));
    std::memcpy(target, &sum, sizeof(T));
    return old;
  }

  Smem part(int first, int count, emulator::Place place = emulator::Place::current()) const {
    return Smem(emulator::narrow_shared(span_, at(first), count * static_cast<int64_t>(sizeof(T)), place));
  }
  template <class U>
  Smem<U> as() const {
    return Smem<U>(span_);
  }
  uint32_t address(int i, emulator::Place place = emulator::Place::current()) const {
    return emulator::check_shared(span_, at(i), sizeof(T), place);
  }

  /// For the twins of instructions that read and write by themselves: bytes of element i.
  emulator::Span span() const { return span_; }
  static int64_t at(int i) { return i * static_cast<int64_t>(sizeof(T)); }

 private:
  emulator::Span span_;
};

class SmemCursor {
 public:
  SmemCursor() = default;
  SmemCursor(Smem<uint2> list, int at, emulator::Place place = emulator::Place::current())
      : list_(list), at_(at) {
    list.address(at, place);
  }
  template <int kOffset, int kStep>
  void append_above(float value, float limit, uint32_t word,
                    emulator::Place place = emulator::Place::current()) {
    if (value <= limit) return;
    list_.store(at_ + kOffset, make_uint2(as_uint(value), word), place);
    at_ += kStep;
  }
  int since(const SmemCursor& from) const { return at_ - from.at_; }
  bool is_beyond(const SmemCursor& other) const { return at_ > other.at_; }

 private:
  Smem<uint2> list_;
  int at_ = 0;
};

class SmemArena {
 public:
  static constexpr int kAlignment = 128;
  template <class T>
  Smem<T> take(int count, emulator::Place place = emulator::Place::current()) {
    const int64_t bytes = count * static_cast<int64_t>(sizeof(T));
    const emulator::Span span = emulator::take_shared(next_, bytes, place);
    next_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    return Smem<T>(span);
  }

 private:
  int64_t next_ = 0;
};

template <class T>
constexpr int64_t smem_bytes(int64_t count) {
  return (count * static_cast<int64_t>(sizeof(T)) + 127) / 128 * 128;
}

}  // namespace branchsae::cuda
