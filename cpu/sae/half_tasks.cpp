#include "cpu/sae/half_tasks.h"

namespace branchsae::cpu {

void HalfTasks::start(int64_t first_half, int64_t second_half) {
  halves_[0].count = first_half;
  halves_[1].count = second_half;
  for (Half& half : halves_) half.next = 0;
}

std::optional<HalfTasks::Task> HalfTasks::take(int thread) {
  for (int64_t i = 0; i < kHalves; ++i) {
    const int64_t number = (thread + i) % kHalves;
    Half& half = halves_[number];
    const int64_t task = half.next.fetch_add(1, std::memory_order_relaxed);
    if (task < half.count) return Task{number, task};
  }
  return std::nullopt;
}

}  // namespace branchsae::cpu
