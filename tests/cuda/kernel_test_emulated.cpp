#include "tests/cuda/kernel_test.h"
#include "tests/emulator/settings.h"

namespace branchsae::cuda::test {

bool emulated() {
  return true;
}

void relax_checks() {
  emulator::settings().race_checks = false;
}

void for_each_order(const std::function<void(std::string_view how)>& body) {
  using emulator::Order;
  struct Restore {
    emulator::Settings before = emulator::settings();
    ~Restore() { emulator::settings() = before; }
  } restore;
  struct Way {
    const char* how;
    Order order;
    uint64_t seed;
    bool shuffle_blocks, late_copies, defer;
  };
  for (const Way& way : {Way{"threads in ascending order", Order::kForward, 1, false, false, false},
                         Way{"threads in descending order", Order::kReverse, 2, true, true, true},
                         Way{"threads in random order", Order::kRandom, 3, true, true, false}}) {
    emulator::Settings& settings = emulator::settings();
    settings.order = way.order;
    settings.seed = way.seed;
    settings.shuffle_blocks = way.shuffle_blocks;
    settings.late_copies = way.late_copies;
    settings.defer = way.defer;
    body(way.how);
    synchronize();
  }
}

}  // namespace branchsae::cuda::test
