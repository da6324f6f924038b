#include "cuda/network/layout.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/error.h"

namespace branchsae::cuda {
namespace {

/// Kernels count groups in 32 bits.
constexpr int64_t kMostGroups = int64_t{1} << 31;

}  // namespace

Layout make_layout(const Shape& shape, Element element, const std::string& what) {
  const bool known = std::ranges::all_of(shape, [](int64_t extent) { return extent > 0; });
  if ((shape.size() != 4 && shape.size() != 2) || !known) {
    throw ShapeError(
        fmt::format("value '{}' has shape {}; the network runs [N, C, H, W] and [N, C] with positive sizes",
                    what, to_string(shape)));
  }
  Layout layout{.n = shape[0], .c = shape[1], .grid = shape.size() == 4, .element = element};
  if (layout.grid) {
    layout.h = shape[2];
    layout.w = shape[3];
  } else {
    layout.element = Element::kF32;
  }
  if (element_count(shape) / layout.group() + layout.pixels() >= kMostGroups) {
    throw ShapeError(fmt::format("value '{}' of shape {} is too large for one launch; take a smaller batch",
                                 what, to_string(shape)));
  }
  return layout;
}

}  // namespace branchsae::cuda
