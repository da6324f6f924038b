/// cp.async. Where the bytes move at the wait, the destination holds 0xff until then; in either case a look
/// at it before the wait is reported.
#include <cstring>

#include "tests/emulator/collectives.h"
#include "tests/emulator/machine.h"

namespace branchsae::emulator {
namespace {

void move(std::byte* to, const void* from) {
  if (from == nullptr) {
    std::memset(to, 0, 16);
  } else {
    std::memcpy(to, from, 16);
  }
}

}  // namespace

void copy_async_16(Span span, int64_t at, const void* from, bool valid, const Place& place) {
  if (valid) check_global(from, 16, place);
  AsyncCopy copy{begin_shared_copy(span, at, 16, place), valid ? from : nullptr, running_thread->copy_group};
  if (!settings().late_copies) move(copy.to, copy.from);
  running_thread->copies.push_back(copy);
}

void commit_async() {
  ++running_thread->copy_group;
}

void wait_async(int pending) {
  std::vector<AsyncCopy>& copies = running_thread->copies;
  std::size_t done = 0;
  while (done < copies.size() && copies[done].group < running_thread->copy_group - pending) {
    const AsyncCopy& copy = copies[done++];
    if (settings().late_copies) move(copy.to, copy.from);
    end_shared_copy(copy.to, 16);
  }
  copies.erase(copies.begin(), copies.begin() + static_cast<std::ptrdiff_t>(done));
}

}  // namespace branchsae::emulator
