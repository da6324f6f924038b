#pragma once
/// Memory on a backend's device.
#include <functional>
#include <memory>

#include "engine/view.h"

namespace branchsae {

/// Bytes on a device; move-only, one owner. Made by Backend::allocate.
class DeviceMemory {
 public:
  using Free = std::function<void(void*)>;
  DeviceMemory() = default;
  DeviceMemory(void* pointer, int64_t size_bytes, Free free)
      : pointer_(pointer, std::move(free)), size_bytes_(size_bytes) {}
  void* data() const { return pointer_.get(); }
  int64_t size_bytes() const { return size_bytes_; }

 private:
  std::unique_ptr<void, Free> pointer_{nullptr, [](void*) {}};
  int64_t size_bytes_ = 0;
};

/// n elements of T on a device. Contents start undefined.
template <class T>
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  explicit DeviceBuffer(DeviceMemory memory) : memory_(std::move(memory)) {}
  T* data() const { return static_cast<T*>(memory_.data()); }
  int64_t size() const { return memory_.size_bytes() / static_cast<int64_t>(sizeof(T)); }
  View<T, 1> view() & { return {data(), {size()}}; }
  View<T, 1> view() && = delete;  // no view of a temporary
  View<T, 2> matrix(int64_t rows, int64_t columns) & { return {data(), {rows, columns}}; }

 private:
  DeviceMemory memory_;
};

}  // namespace branchsae
