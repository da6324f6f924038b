#include "cpu/memory.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>

#include "engine/error.h"

namespace branchsae::cpu {
namespace {

constexpr int64_t kAlignment = 64;
constexpr int64_t kHugePage = int64_t{2} << 20;

int64_t physical_bytes() {
  const long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGE_SIZE);
  if (pages <= 0 || page_bytes <= 0) return INT64_MAX;  // unknown: let the allocator decide
  return static_cast<int64_t>(pages) * page_bytes;
}

std::string mebibytes(int64_t bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
}

}  // namespace

void check_fits_in_memory(int64_t size_bytes, std::string_view what) {
  // Linux promises more than it has, so a request beyond the machine would only fail when it is touched.
  const int64_t physical = physical_bytes();
  if (size_bytes >= 0 && size_bytes <= physical) return;
  throw MemoryError(fmt::format("out of memory: \"{}\" needs {}, this machine has {}", what,
                                mebibytes(size_bytes), mebibytes(physical)));
}

DeviceMemory allocate_host(int64_t size_bytes, std::string_view what) {
  check_fits_in_memory(size_bytes, what);
  const int64_t alignment = size_bytes >= kHugePage ? kHugePage : kAlignment;
  const int64_t rounded = (std::max<int64_t>(size_bytes, 1) + alignment - 1) / alignment * alignment;
  void* pointer = std::aligned_alloc(static_cast<size_t>(alignment), static_cast<size_t>(rounded));
  if (pointer == nullptr) {
    throw MemoryError(
        fmt::format("out of memory: cannot allocate {} for \"{}\"", mebibytes(size_bytes), what));
  }
  if (alignment == kHugePage)
    madvise(pointer, static_cast<size_t>(rounded), MADV_HUGEPAGE);  // advice: may fail
  return {pointer, size_bytes, [](void* p) { std::free(p); }};
}

}  // namespace branchsae::cpu
