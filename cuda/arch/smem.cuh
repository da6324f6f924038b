#pragma once
// Dynamic shared memory. Kernels reach it only through these handles: on the device they are bare pointers,
// in the emulator every access is checked for bounds, unwritten words and races.
//   SmemArena arena;                          the block's whole dynamic shared memory
//   auto slots = arena.take<uint32_t>(1024);  every thread takes the same, in the same order
// T is 2, 4, 8 or 16 bytes, trivially copyable.
#include "cuda/arch/types.cuh"

namespace branchsae::cuda {

template <class T>
class Smem {
 public:
  Smem() = default;
  BRANCHSAE_DEVICE explicit Smem(T* data) : data_(data) {}

  BRANCHSAE_DEVICE T load(int i) const { return data_[i]; }
  BRANCHSAE_DEVICE void store(int i, T value) { data_[i] = value; }
  /// A wider word at element i, which must lie on a multiple of its size: load_as<uint4>(i).
  template <class V>
  BRANCHSAE_DEVICE V load_as(int i) const {
    return *reinterpret_cast<const V*>(data_ + i);
  }
  template <class V>
  BRANCHSAE_DEVICE void store_as(int i, V value) {
    *reinterpret_cast<V*>(data_ + i) = value;
  }
  /// Integers only; returns the old value.
  BRANCHSAE_DEVICE T add_atomic(int i, T value) { return atomicAdd(data_ + i, value); }

  /// The part from element `first` on.
  BRANCHSAE_DEVICE Smem part(int first, int /*count*/) const { return Smem(data_ + first); }
  template <class U>
  BRANCHSAE_DEVICE Smem<U> as() const {
    return Smem<U>(reinterpret_cast<U*>(data_));
  }
  /// Where element i lies, for instructions that take addresses.
  BRANCHSAE_DEVICE uint32_t address(int i) const {
    return static_cast<uint32_t>(__cvta_generic_to_shared(data_ + i));
  }

 private:
  T* data_ = nullptr;
};

/// A place in a list of uint2 that moves on as it is written: for lists whose lengths only the data know.
class SmemCursor {
 public:
  SmemCursor() = default;
  BRANCHSAE_DEVICE SmemCursor(Smem<uint2> list, int at) : address_(list.address(at)) {}

  /// Unless value <= limit (so also for NaN): writes {bits of value, word} kOffset entries from here and
  /// moves kStep entries on. Predicated, not a branch.
  template <int kOffset, int kStep>
  BRANCHSAE_DEVICE void append_above(float value, float limit, uint32_t word) {
    asm volatile(
        "{\n\t.reg .pred above;\n\t"
        "setp.gtu.f32 above, %1, %2;\n\t"
        "@above st.shared.v2.b32 [%0 + %5], {%3, %4};\n\t"
        "@above add.u32 %0, %0, %6;\n\t}"
        : "+r"(address_)
        : "f"(value), "f"(limit), "r"(as_uint(value)), "r"(word), "n"(kOffset * 8), "n"(kStep * 8)
        : "memory");
  }
  /// Entries from `from` to here.
  BRANCHSAE_DEVICE int since(const SmemCursor& from) const {
    return static_cast<int>(address_ - from.address_) / 8;
  }
  BRANCHSAE_DEVICE bool is_beyond(const SmemCursor& other) const { return address_ > other.address_; }

 private:
  uint32_t address_ = 0;
};

/// Hands out the block's dynamic shared memory from its start; each piece begins at a multiple of kAlignment.
class SmemArena {
 public:
  static constexpr int kAlignment = 128;
  BRANCHSAE_DEVICE SmemArena() {
    extern __shared__ __align__(1024) unsigned char branchsae_smem[];
    next_ = branchsae_smem;
  }
  template <class T>
  BRANCHSAE_DEVICE Smem<T> take(int count) {
    T* piece = reinterpret_cast<T*>(next_);
    next_ += (count * static_cast<int>(sizeof(T)) + kAlignment - 1) / kAlignment * kAlignment;
    return Smem<T>(piece);
  }

 private:
  unsigned char* next_;
};

/// Bytes that take<T>(count) uses up, for the launch.
template <class T>
constexpr int64_t smem_bytes(int64_t count) {
  return (count * static_cast<int64_t>(sizeof(T)) + 127) / 128 * 128;
}

}  // namespace branchsae::cuda
