#include <cstring>

#include "tests/emulator/collectives.h"
#include "tests/emulator/machine.h"

namespace branchsae::emulator {

void copy_async_16(Span span, int64_t at, const void* from, bool valid, const Place& place) {
  std::byte* to = write_shared(span, at, 16, place);
  if (!valid) {
    std::memset(to, 0, 16);
    return;
  }
  check_global(from, 16, place);
  std::memcpy(to, from, 16);
}

void commit_async() {}

void wait_async(int) {}

}  // namespace branchsae::emulator
