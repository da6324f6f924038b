#include "cpu/network/layout.h"

#include <fmt/format.h>

#include <algorithm>

#include "cpu/threads.h"
#include "engine/error.h"

namespace branchsae::cpu {

Layout make_layout(const Shape& shape, int64_t block, const std::string& what) {
  const bool known = std::ranges::all_of(shape, [](int64_t extent) { return extent > 0; });
  if ((shape.size() != 4 && shape.size() != 2) || !known) {
    throw ShapeError(
        fmt::format("value '{}' has shape {}; the CPU runs [N, C, H, W] and [N, C] with positive sizes", what,
                    to_string(shape)));
  }
  element_count(shape);  // refuses absurd products
  Layout layout{.n = shape[0], .c = shape[1], .block = block, .grid = shape.size() == 4};
  if (layout.grid) {
    layout.h = shape[2];
    layout.w = shape[3];
  }
  return layout;
}

void zero_padding_channels(const Blob& blob) {
  const Layout& layout = blob.layout;
  const int64_t used = layout.c - (layout.blocks() - 1) * layout.block;
  if (used == layout.block) return;
  parallel_for(layout.n, [&](int64_t image) {
    float* plane = blob.plane(image, layout.blocks() - 1);
    for (int64_t pixel = 0; pixel < layout.h * layout.w; ++pixel) {
      std::fill(plane + pixel * layout.block + used, plane + (pixel + 1) * layout.block, 0.0F);
    }
  });
}

}  // namespace branchsae::cpu
