#include "engine/memory_plan.h"

#include <algorithm>
#include <cstddef>

namespace branchsae {
int MemoryPlan::add(int64_t size_bytes) {
  const int64_t rounded = (size_bytes + alignment_ - 1) / alignment_ * alignment_;
  buffers_.push_back({.size_bytes = rounded, .first = INT64_MAX, .last = INT64_MIN, .offset = 0});
  return static_cast<int>(buffers_.size()) - 1;
}

void MemoryPlan::use(int buffer, int64_t step) {
  Buffer& entry = buffers_.at(static_cast<size_t>(buffer));
  entry.first = std::min(entry.first, step);
  entry.last = std::max(entry.last, step);
}

void MemoryPlan::keep(int buffer) {
  use(buffer, INT64_MIN + 1);
  use(buffer, INT64_MAX - 1);
}

int64_t MemoryPlan::lowest_offset(const Buffer& buffer, const std::vector<const Buffer*>& placed) const {
  int64_t offset = 0;
  for (const Buffer* other : placed) {  // by ascending offset
    if (!buffer.overlaps(*other)) continue;
    if (offset + buffer.size_bytes <= other->offset) break;
    offset = std::max(offset, other->offset + other->size_bytes);
  }
  return offset;
}

void MemoryPlan::place() {
  std::vector<Buffer*> order;
  for (Buffer& buffer : buffers_) order.push_back(&buffer);
  std::ranges::stable_sort(order, std::ranges::greater(), &Buffer::size_bytes);
  std::vector<const Buffer*> placed;
  for (Buffer* buffer : order) {
    buffer->offset = lowest_offset(*buffer, placed);
    const auto after = std::ranges::upper_bound(placed, buffer->offset, {}, &Buffer::offset);
    placed.insert(after, buffer);
    size_bytes_ = std::max(size_bytes_, buffer->offset + buffer->size_bytes);
  }
}

}  // namespace branchsae
