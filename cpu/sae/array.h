#pragma once
/// Arrays of the autoencoder's kernels.
#include <cstring>
#include <string_view>

#include "cpu/memory.h"

namespace branchsae::cpu {

/// Zero-initialised elements in host memory, aligned for every kernel; huge pages when large.
template <class T>
class Array {
 public:
  Array() = default;
  Array(int64_t count, std::string_view what)
      : memory_(allocate_host(count * static_cast<int64_t>(sizeof(T)), what)), count_(count) {
    clear();
  }
  T* data() { return static_cast<T*>(memory_.data()); }
  const T* data() const { return static_cast<const T*>(memory_.data()); }
  T& operator[](int64_t i) { return data()[i]; }
  const T& operator[](int64_t i) const { return data()[i]; }
  int64_t size() const { return count_; }
  int64_t size_bytes() const { return count_ * static_cast<int64_t>(sizeof(T)); }
  void clear() {
    if (count_ > 0) std::memset(memory_.data(), 0, static_cast<size_t>(size_bytes()));
  }

 private:
  DeviceMemory memory_;
  int64_t count_ = 0;
};

}  // namespace branchsae::cpu
