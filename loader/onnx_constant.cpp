#include "loader/onnx_constant.h"

#include <fmt/format.h>

#include "engine/error.h"

namespace branchsae::loader {

namespace {
constexpr int64_t kMaxElements = int64_t{1} << 48;
}

std::string to_string(const std::vector<Extent>& extents) {
  std::string text = "[";
  for (const Extent& extent : extents) {
    if (text.size() > 1) text += ", ";
    text += extent.is_known() ? std::to_string(extent.value) : extent.is_batch() ? "N" : "?";
  }
  return text + "]";
}

void MemoryBudget::spend(int64_t count, int64_t element_bytes, const std::string& what) {
  if (count <= left_ / element_bytes) {
    left_ -= count * element_bytes;
    return;
  }
  throw InputError(
      fmt::format("{} needs {} elements of {} bytes, more than is left of the {} MiB allowed for constants; "
                  "check the model, or raise LoadOptions::max_constant_bytes",
                  what, count, element_bytes, limit_ >> 20));
}

int64_t checked_count(const Shape& shape, const std::string& what) {
  int64_t count = 1;
  bool is_empty = false, is_too_large = false;
  for (const int64_t dimension : shape) {
    if (dimension < 0) {
      throw InputError(fmt::format("{} has shape {} with a negative dimension; the file is damaged", what,
                                   branchsae::to_string(shape)));
    }
    if (dimension == 0) {
      is_empty = true;
    } else if (count > kMaxElements / dimension) {
      is_too_large = true;
    } else {
      count *= dimension;
    }
  }
  if (!is_too_large) return is_empty ? 0 : count;
  throw InputError(
      fmt::format("{} has the absurd shape {}; the file is damaged", what, branchsae::to_string(shape)));
}

}  // namespace branchsae::loader
