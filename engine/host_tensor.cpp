#include "engine/host_tensor.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "engine/error.h"

namespace branchsae {
namespace {
constexpr int64_t kAlignment = 64;  // one cache line, one AVX-512 vector
}

void HostTensor::Free::operator()(float* pointer) const noexcept {
  std::free(pointer);
}

HostTensor::HostTensor(Shape shape) : shape_(std::move(shape)), size_(element_count(shape_)) {
  const int64_t bytes =
      (size_ * static_cast<int64_t>(sizeof(float)) + kAlignment - 1) / kAlignment * kAlignment;
  if (size_ > (int64_t{1} << 58))
    throw ShapeError(fmt::format("shape {} does not fit into memory", to_string(shape_)));
  if (bytes == 0) return;
  void* memory = std::aligned_alloc(kAlignment, static_cast<size_t>(bytes));
  if (memory == nullptr) {
    throw Error(fmt::format("out of memory: {} bytes for a tensor of shape {}", bytes, to_string(shape_)));
  }
  std::memset(memory, 0, static_cast<size_t>(bytes));
  data_.reset(static_cast<float*>(memory));
}

HostTensor::HostTensor(Shape shape, std::span<const float> values) : HostTensor(std::move(shape)) {
  if (static_cast<int64_t>(values.size()) != size_) {
    throw ShapeError(
        fmt::format("{} values given for a tensor of shape {}", values.size(), to_string(shape_)));
  }
  std::copy(values.begin(), values.end(), data());
}

}  // namespace branchsae
