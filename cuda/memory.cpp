#include "cuda/memory.h"

#include <fmt/format.h>

#include <source_location>

#include "cuda/device.h"
#include "cuda/error.h"
#include "engine/error.h"
#include "engine/log.h"

namespace branchsae::cuda {
namespace {

double mebibytes(int64_t bytes) {
  return static_cast<double>(bytes) / (1024.0 * 1024.0);
}

void check_size(int64_t size_bytes, std::string_view what) {
  if (size_bytes < 0)
    throw DeviceError(fmt::format("allocate \"{}\": {} bytes is no size", what, size_bytes));
}

void check_allocation(cudaError_t status, int device, int64_t size_bytes, std::string_view what,
                      std::source_location place = std::source_location::current()) {
  if (status == cudaSuccess) return;
  cudaGetLastError();
  const std::optional<int64_t> free = memory_free(device);
  const std::string left = free ? fmt::format(" ({:.1f} MiB free)", mebibytes(*free)) : std::string();
  check(status,
        fmt::format("allocate \"{}\" {:.1f} MiB, cuda:{}{}", what, mebibytes(size_bytes), device, left),
        place);
}

/// Destructors report, never throw.
void report(cudaError_t status, const char* doing, int device) {
  if (status == cudaSuccess) return;
  cudaGetLastError();
  log(LogLevel::kWarning, fmt::format("{}, cuda:{}: {}", doing, device, cudaGetErrorString(status)));
}

}  // namespace

void upload_sync(void* dst, const void* src, int64_t size_bytes, std::string_view doing) {
  check(cudaMemcpy(dst, src, static_cast<size_t>(size_bytes), cudaMemcpyHostToDevice), doing);
  check(cudaStreamSynchronize(nullptr), doing);
}

std::optional<int64_t> memory_free(int device) {
  const CurrentDevice current(device);
  size_t free = 0, total = 0;
  if (cudaMemGetInfo(&free, &total) == cudaSuccess) return static_cast<int64_t>(free);
  cudaGetLastError();
  return std::nullopt;
}

DeviceMemory allocate(int device, int64_t size_bytes, std::string_view what) {
  check_size(size_bytes, what);
  if (size_bytes == 0) return {};
  const CurrentDevice current(device);
  void* pointer = nullptr;
  check_allocation(cudaMalloc(&pointer, static_cast<size_t>(size_bytes)), device, size_bytes, what);
  return {pointer, size_bytes, [device](void* memory) { report(cudaFree(memory), "free memory", device); }};
}

DeviceMemory allocate_pinned(int device, int64_t size_bytes, std::string_view what) {
  check_size(size_bytes, what);
  if (size_bytes == 0) return {};
  const CurrentDevice current(device);
  void* pointer = nullptr;
  check(cudaHostAlloc(&pointer, static_cast<size_t>(size_bytes), cudaHostAllocDefault),
        fmt::format("allocate \"{}\" {:.1f} MiB of pinned host memory", what, mebibytes(size_bytes)));
  return {pointer, size_bytes,
          [device](void* memory) { report(cudaFreeHost(memory), "free pinned memory", device); }};
}

DeviceMemory allocate_in_order(const CudaStream& stream, int64_t size_bytes, std::string_view what) {
  check_size(size_bytes, what);
  if (size_bytes == 0) return {};
  const int device = stream.device();
  const cudaStream_t handle = stream.handle();
  const CurrentDevice current(device);
  void* pointer = nullptr;
  check_allocation(cudaMallocAsync(&pointer, static_cast<size_t>(size_bytes), handle), device, size_bytes,
                   what);
  return {pointer, size_bytes, [device, handle](void* memory) {
            report(cudaFreeAsync(memory, handle), "free memory in stream order", device);
          }};
}

}  // namespace branchsae::cuda
