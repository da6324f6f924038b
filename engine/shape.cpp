#include "engine/shape.h"

#include <fmt/format.h>

#include "engine/error.h"

namespace branchsae {

std::string to_string(std::span<const int64_t> shape) {
  std::string text = "[";
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    if (axis > 0) text += ", ";
    text += shape[axis] == kDynamic ? "?" : std::to_string(shape[axis]);
  }
  return text + "]";
}

int64_t element_count(std::span<const int64_t> shape) {
  constexpr int64_t kLimit = int64_t{1} << 62;
  int64_t count = 1;
  bool has_zero = false;
  for (int64_t extent : shape) {
    if (extent < 0)
      throw ShapeError(fmt::format("shape {} has a negative or unknown dimension", to_string(shape)));
    if (extent == 0) {
      has_zero = true;
    } else if (count > kLimit / extent) {
      throw ShapeError(fmt::format("shape {} has more than 2^62 elements", to_string(shape)));
    } else {
      count *= extent;
    }
  }
  return has_zero ? 0 : count;
}

}  // namespace branchsae
