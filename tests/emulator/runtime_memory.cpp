/// Memory of the emulated runtime.
#include <fmt/format.h>

#include <cstdlib>
#include <cstring>

#include "tests/emulator/failure.h"
#include "tests/emulator/runtime_state.h"

namespace branchsae::emulator {
namespace {

using Lock = std::lock_guard<std::recursive_mutex>;

constexpr int64_t kGuard = 512;
constexpr int64_t kAlignment = 256;
constexpr unsigned char kGuardByte = 0xa5;
constexpr unsigned char kPoison = 0xff;

struct Memory {
  std::map<uintptr_t, Allocation> allocations;  // by address of the first byte
  int64_t device_bytes = 0, peak_bytes = 0;
  int countdown = 0;  // to the allocation that fails
};
Memory& memory() {
  static Memory all;
  return all;
}

int64_t padded(int64_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

/// Distance of the first byte of a guard zone that was written; -1 for none.
int64_t spoilt(const std::byte* zone, int64_t bytes) {
  for (int64_t i = 0; i < bytes; ++i) {
    if (zone[i] != static_cast<std::byte>(kGuardByte)) return i;
  }
  return -1;
}

void check_guards_of(const Allocation& allocation) {
  if (allocation.registered) return;
  const char* kind = allocation.pinned ? "pinned host memory" : "device memory";
  const int64_t before = spoilt(allocation.block, kGuard);
  if (before >= 0) {
    throw Failure(fmt::format("a write {} bytes before the start of {} bytes of {}", kGuard - before,
                              allocation.bytes, kind));
  }
  const std::byte* end = allocation.block + kGuard + allocation.bytes;
  const int64_t after = spoilt(end, kGuard + padded(allocation.bytes) - allocation.bytes);
  if (after >= 0) {
    throw Failure(
        fmt::format("a write {} bytes past the end of {} bytes of {}", after, allocation.bytes, kind));
  }
}

cudaError_t allocate(void** pointer, size_t size, bool pinned) {
  const Lock lock(runtime_lock());
  if (sticky_error() != cudaSuccess) return report(sticky_error());
  if (capture_forbids()) return report(cudaErrorStreamCaptureUnsupported);
  *pointer = nullptr;
  if (size == 0) return cudaSuccess;
  Memory& all = memory();
  if (all.countdown > 0 && --all.countdown == 0) return report(cudaErrorMemoryAllocation);
  const int64_t limit = device_model().memory_bytes;
  if (size > static_cast<size_t>(limit) || (!pinned && all.device_bytes + static_cast<int64_t>(size) > limit))
    return report(cudaErrorMemoryAllocation);
  const auto bytes = static_cast<int64_t>(size);
  const auto total = static_cast<size_t>(padded(bytes) + 2 * kGuard);
  auto* block = static_cast<std::byte*>(std::aligned_alloc(kAlignment, total));
  if (block == nullptr) return report(cudaErrorMemoryAllocation);
  std::memset(block, kGuardByte, total);
  std::memset(block + kGuard, kPoison, size);
  *pointer = block + kGuard;
  all.allocations[reinterpret_cast<uintptr_t>(*pointer)] = {block, bytes, pinned, false};
  if (!pinned) {
    all.device_bytes += bytes;
    all.peak_bytes = std::max(all.peak_bytes, all.device_bytes);
  }
  return cudaSuccess;
}

cudaError_t release(void* pointer, bool pinned) {
  const Lock lock(runtime_lock());
  if (pointer == nullptr) return cudaSuccess;
  Memory& all = memory();
  const auto found = all.allocations.find(reinterpret_cast<uintptr_t>(pointer));
  if (found == all.allocations.end() || found->second.pinned != pinned || found->second.registered)
    return report(cudaErrorInvalidValue);
  const Allocation allocation = found->second;
  all.allocations.erase(found);
  if (!pinned) all.device_bytes -= allocation.bytes;
  std::memset(pointer, kPoison, static_cast<size_t>(allocation.bytes));
  run_quietly([&] { check_guards_of(allocation); });
  std::free(allocation.block);
  return report(sticky_error());
}

/// What a copy of this kind may touch on either side.
void check_copy(const void* dst, const void* src, int64_t bytes, cudaMemcpyKind kind) {
  if (kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice)
    check_device_range(src, bytes, "copy from");
  if (kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice)
    check_device_range(dst, bytes, "copy to");
  const auto refuse_device = [](const void* pointer, const char* side) {
    const Allocation* found = find_allocation(pointer);
    if (found != nullptr && !found->pinned)
      throw Failure(fmt::format("copy {} host memory, but {} lies in device memory", side, pointer));
  };
  if (kind == cudaMemcpyHostToDevice) refuse_device(src, "from");
  if (kind == cudaMemcpyDeviceToHost) refuse_device(dst, "to");
}

struct Rectangle {
  std::byte* dst;
  const std::byte* src;
  size_t dst_pitch, src_pitch, width, height;
};

void copy(const Rectangle& r) {
  for (size_t row = 0; row < r.height; ++row)
    std::memmove(r.dst + row * r.dst_pitch, r.src + row * r.src_pitch, r.width);
}

/// Pageable host memory is read at once and written only with the caller waiting; pinned memory in the
/// stream's time.
cudaError_t copy_in_order(Rectangle r, cudaMemcpyKind kind, cudaStream_t handle) {
  const Lock lock(runtime_lock());
  if (sticky_error() != cudaSuccess) return report(sticky_error());
  CUstream_st* stream = resolve(handle);
  if (!exists(stream)) return report(cudaErrorInvalidResourceHandle);
  if (r.width == 0 || r.height == 0) return cudaSuccess;
  if (r.width > r.dst_pitch || r.width > r.src_pitch) return report(cudaErrorInvalidValue);
  const auto check_all = [r, kind] {
    check_copy(r.dst, r.src, static_cast<int64_t>(r.width), kind);
    check_copy(r.dst + (r.height - 1) * r.dst_pitch, r.src + (r.height - 1) * r.src_pitch,
               static_cast<int64_t>(r.width), kind);
  };
  check_all();
  const bool to_pageable = kind == cudaMemcpyDeviceToHost && !is_pinned(r.dst);
  const bool from_pageable = kind == cudaMemcpyHostToDevice && !is_pinned(r.src);
  if (from_pageable && !capturing(stream)) {
    auto staged = std::make_shared<std::vector<std::byte>>(r.width * r.height);
    copy({staged->data(), r.src, r.width, r.src_pitch, r.width, r.height});
    return report(enqueue_work(stream, [r, staged] {
      check_device_range(r.dst, static_cast<int64_t>(r.width), "copy to");
      copy({r.dst, staged->data(), r.dst_pitch, r.width, r.width, r.height});
    }));
  }
  const cudaError_t status = enqueue_work(stream, [r, check_all] {
    check_all();
    copy(r);
  });
  if (status == cudaSuccess && to_pageable && !capturing(stream)) run_stream(stream);
  return report(status == cudaSuccess ? sticky_error() : status);
}

}  // namespace

const Allocation* find_allocation(const void* pointer) {
  const auto& all = memory().allocations;
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  auto found = all.upper_bound(address);
  if (found == all.begin()) return nullptr;
  --found;
  return address < found->first + static_cast<uintptr_t>(found->second.bytes) ? &found->second : nullptr;
}

void check_device_range(const void* pointer, int64_t bytes, const char* doing) {
  const Allocation* found = find_allocation(pointer);
  if (found == nullptr || found->pinned)
    throw Failure(fmt::format("{} {} bytes at {}, which is no device memory", doing, bytes, pointer));
  const int64_t at = static_cast<const std::byte*>(pointer) - (found->block + kGuard);
  if (at + bytes > found->bytes) {
    throw Failure(
        fmt::format("{} bytes {} to {} of {} bytes of device memory", doing, at, at + bytes, found->bytes));
  }
}

bool is_pinned(const void* pointer) {
  const Allocation* found = find_allocation(pointer);
  return found != nullptr && found->pinned;
}

void fail_allocation(int n) {
  const Lock lock(runtime_lock());
  memory().countdown = n;
}

int64_t device_bytes() {
  return memory().device_bytes;
}
int64_t peak_device_bytes() {
  return memory().peak_bytes;
}
int64_t live_allocations() {
  return static_cast<int64_t>(memory().allocations.size());
}
void reset_counters() {
  counters() = {};
  memory().peak_bytes = memory().device_bytes;
}

void check_guards() {
  const Lock lock(runtime_lock());
  for (const auto& [address, allocation] : memory().allocations) check_guards_of(allocation);
}

}  // namespace branchsae::emulator

using namespace branchsae::emulator;

cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  return allocate(pointer, bytes, false);
}
cudaError_t cudaFree(void* pointer) {
  const Lock lock(runtime_lock());
  if (capture_forbids()) return report(cudaErrorStreamCaptureUnsupported);
  if (pointer != nullptr) run_quietly(run_all_streams);
  return release(pointer, false);
}
cudaError_t cudaMallocAsync(void** pointer, size_t bytes, cudaStream_t stream) {
  const Lock lock(runtime_lock());
  if (!exists(resolve(stream))) return report(cudaErrorInvalidResourceHandle);
  return allocate(pointer, bytes, false);
}
cudaError_t cudaFreeAsync(void* pointer, cudaStream_t handle) {
  const Lock lock(runtime_lock());
  CUstream_st* stream = resolve(handle);
  if (!exists(stream)) return report(cudaErrorInvalidResourceHandle);
  if (capturing(stream)) return report(cudaErrorStreamCaptureUnsupported);
  if (pointer == nullptr) return cudaSuccess;
  const Allocation* found = find_allocation(pointer);
  if (found == nullptr || found->pinned) return report(cudaErrorInvalidValue);
  return report(enqueue_work(stream, [pointer] { release(pointer, false); }));
}
cudaError_t cudaMallocHost(void** pointer, size_t bytes) {
  return allocate(pointer, bytes, true);
}
cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned) {
  return allocate(pointer, bytes, true);
}
cudaError_t cudaFreeHost(void* pointer) {
  const Lock lock(runtime_lock());
  if (pointer != nullptr) run_quietly(run_all_streams);
  return release(pointer, true);
}
cudaError_t cudaHostRegister(void* pointer, size_t bytes, unsigned) {
  const Lock lock(runtime_lock());
  if (pointer == nullptr || bytes == 0) return report(cudaErrorInvalidValue);
  if (find_allocation(pointer) != nullptr) return report(cudaErrorHostMemoryAlreadyRegistered);
  memory().allocations[reinterpret_cast<uintptr_t>(pointer)] = {static_cast<std::byte*>(pointer),
                                                                static_cast<int64_t>(bytes), true, true};
  return cudaSuccess;
}
cudaError_t cudaHostUnregister(void* pointer) {
  const Lock lock(runtime_lock());
  const auto found = memory().allocations.find(reinterpret_cast<uintptr_t>(pointer));
  if (found == memory().allocations.end() || !found->second.registered)
    return report(cudaErrorHostMemoryNotRegistered);
  memory().allocations.erase(found);
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  const Lock lock(runtime_lock());
  if (sticky_error() != cudaSuccess) return report(sticky_error());
  *total = static_cast<size_t>(device_model().memory_bytes);
  *free = static_cast<size_t>(std::max<int64_t>(0, device_model().memory_bytes - memory().device_bytes));
  return cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  const Lock lock(runtime_lock());
  *attributes = {};
  const Allocation* found = find_allocation(pointer);
  if (found == nullptr) return cudaSuccess;
  attributes->type = found->pinned ? cudaMemoryTypeHost : cudaMemoryTypeDevice;
  attributes->devicePointer = const_cast<void*>(pointer);
  attributes->hostPointer = found->pinned ? const_cast<void*>(pointer) : nullptr;
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void* dst, const void* src, size_t bytes, cudaMemcpyKind kind) {
  const cudaError_t status = cudaMemcpyAsync(dst, src, bytes, kind, nullptr);
  return status == cudaSuccess ? cudaStreamSynchronize(nullptr) : status;
}
cudaError_t cudaMemcpyAsync(void* dst, const void* src, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  return copy_in_order(
      {static_cast<std::byte*>(dst), static_cast<const std::byte*>(src), bytes, bytes, bytes, 1}, kind,
      stream);
}
cudaError_t cudaMemcpy2DAsync(void* dst, size_t dst_pitch, const void* src, size_t src_pitch, size_t width,
                              size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  return copy_in_order(
      {static_cast<std::byte*>(dst), static_cast<const std::byte*>(src), dst_pitch, src_pitch, width, height},
      kind, stream);
}
cudaError_t cudaMemset(void* dst, int value, size_t bytes) {
  const cudaError_t status = cudaMemsetAsync(dst, value, bytes, nullptr);
  return status == cudaSuccess ? cudaStreamSynchronize(nullptr) : status;
}
cudaError_t cudaMemsetAsync(void* dst, int value, size_t bytes, cudaStream_t stream) {
  return cudaMemset2DAsync(dst, bytes, value, bytes, 1, stream);
}
cudaError_t cudaMemset2DAsync(void* dst, size_t pitch, int value, size_t width, size_t height,
                              cudaStream_t handle) {
  const Lock lock(runtime_lock());
  if (sticky_error() != cudaSuccess) return report(sticky_error());
  CUstream_st* stream = resolve(handle);
  if (!exists(stream)) return report(cudaErrorInvalidResourceHandle);
  if (width == 0 || height == 0) return cudaSuccess;
  if (width > pitch) return report(cudaErrorInvalidValue);
  const auto check = [=] {
    check_device_range(dst, static_cast<int64_t>((height - 1) * pitch + width), "set");
  };
  check();
  return report(enqueue_work(stream, [=] {
    check();
    for (size_t row = 0; row < height; ++row)
      std::memset(static_cast<std::byte*>(dst) + row * pitch, value, width);
  }));
}
