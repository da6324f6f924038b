#include "tests/cuda/kernel_test.h"

#include <fmt/format.h>

#include <cstdio>
#include <stdexcept>

#include "cuda/error.h"

namespace branchsae::cuda::test {
namespace {

constexpr int64_t kGuard = 1024;
constexpr unsigned char kGuardByte = 0x5a;

}  // namespace

cudaStream_t stream() {
  static const cudaStream_t made = [] {
    cudaStream_t result = nullptr;
    check(cudaStreamCreateWithFlags(&result, cudaStreamNonBlocking), "make the tests' stream");
    return result;
  }();
  return made;
}

void synchronize() {
  check(cudaStreamSynchronize(stream()), "wait for the tests' stream");
}

GuardedMemory::GuardedMemory(int64_t bytes) : bytes_(bytes) {
  const auto total = static_cast<std::size_t>(bytes + 2 * kGuard);
  void* block = nullptr;
  check(cudaMalloc(&block, total), "allocate a test's buffer");
  block_ = static_cast<std::byte*>(block);
  check(cudaMemsetAsync(block_, kGuardByte, total, stream()), "fill guard zones");
  if (bytes > 0)
    check(cudaMemsetAsync(data(), 0xff, static_cast<std::size_t>(bytes), stream()), "fill a buffer");
  synchronize();
}

GuardedMemory::GuardedMemory(GuardedMemory&& other) noexcept
    : block_(std::exchange(other.block_, nullptr)), bytes_(other.bytes_) {}

GuardedMemory::~GuardedMemory() {
  if (block_ == nullptr) return;
  try {
    check_guards();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "test buffer: %s\n", error.what());
    if (std::uncaught_exceptions() == 0) std::terminate();
  }
  if (cudaFree(block_) != cudaSuccess) cudaGetLastError();
}

void* GuardedMemory::data() const {
  return block_ + kGuard;
}

void GuardedMemory::upload(const void* from) {
  if (bytes_ == 0) return;
  check(cudaMemcpyAsync(data(), from, static_cast<std::size_t>(bytes_), cudaMemcpyHostToDevice, stream()),
        "upload");
  synchronize();
}

void GuardedMemory::download(void* to) const {
  check_guards();
  if (bytes_ == 0) return;
  check(cudaMemcpyAsync(to, data(), static_cast<std::size_t>(bytes_), cudaMemcpyDeviceToHost, stream()),
        "download");
  synchronize();
}

void GuardedMemory::check_guards() const {
  for (const bool after : {false, true}) {
    std::vector<unsigned char> zone(kGuard);
    const std::byte* from = after ? block_ + kGuard + bytes_ : block_;
    check(cudaMemcpyAsync(zone.data(), from, kGuard, cudaMemcpyDeviceToHost, stream()), "read guard zones");
    synchronize();
    for (int64_t i = 0; i < kGuard; ++i) {
      if (zone[static_cast<std::size_t>(i)] == kGuardByte) continue;
      throw std::logic_error(
          after ? fmt::format("a write {} bytes past the end of a buffer of {} bytes", i, bytes_)
                : fmt::format("a write {} bytes before a buffer of {} bytes", kGuard - i, bytes_));
    }
  }
}

void orders_disagree(std::string_view first, std::string_view other) {
  throw std::logic_error(fmt::format("the result of {} differs from that of {}", other, first));
}

}  // namespace branchsae::cuda::test
