#include "cpu/sae/partial_plan.h"

namespace branchsae::cpu {

int64_t PartialPlan::first_tile(int64_t number, int64_t tiles) {
  static constexpr int64_t kSixteenths[kParts] = {0, 5, 10, 13, 15};
  const int64_t middle = divide_up(tiles, kHalves), half = number / kParts;
  if (half == kHalves) return tiles;
  const int64_t size = half == 0 ? middle : tiles - middle;
  return half * middle + size * kSixteenths[number % kParts] / 16;
}

void PartialPlan::start() {
  halves_ = {};
}

std::optional<PartialPlan::Part> PartialPlan::take(int thread) {
  const std::scoped_lock lock(mutex_);
  int64_t number = thread % kHalves;
  if (halves_[static_cast<size_t>(number)].next == kParts) number = 1 - number;
  Half& half = halves_[static_cast<size_t>(number)];
  if (half.next == kParts) return std::nullopt;
  const int64_t place = half.next++, first = number * kParts;
  // The second buffer is free again after each merge.
  const bool merge = place > 0 && half.merged == place && half.thread == thread;
  const int64_t slot = first + (merge ? 1 : place);
  if (!merge) half.slots[static_cast<size_t>(half.count++)] = static_cast<int32_t>(slot);
  return Part{first + place, slot, merge};
}

void PartialPlan::finish(const Part& part, int thread) {
  const std::scoped_lock lock(mutex_);
  Half& half = halves_[static_cast<size_t>(part.number / kParts)];
  const int64_t place = part.number % kParts;
  if (place > 0 && !part.merge) return;
  half.merged = place + 1;
  half.thread = thread;
}

std::span<const int32_t> PartialPlan::slots(int64_t half) const {
  const Half& h = halves_[static_cast<size_t>(half)];
  return {h.slots.data(), static_cast<size_t>(h.count)};
}

}  // namespace branchsae::cpu
