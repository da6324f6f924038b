#include "cpu/network/input.h"

#include <algorithm>

#include "cpu/threads.h"

namespace branchsae::cpu {
namespace {

/// element(image, y, x, c) for every element, row by row.
template <class Element>
void write(const Blob& dst, int64_t count, const Element& element) {
  const Layout& layout = dst.layout;
  parallel_for(layout.n * layout.h, [&](int64_t i) {
    const int64_t image = i / layout.h, y = i % layout.h;
    for (int64_t c = 0; c < layout.padded_channels(); ++c) {
      float* row = dst.plane(image, c / layout.block) + y * layout.w * layout.block + c % layout.block;
      if (image >= count || c >= layout.c) {
        for (int64_t x = 0; x < layout.w; ++x) row[x * layout.block] = 0.0F;
      } else {
        for (int64_t x = 0; x < layout.w; ++x) row[x * layout.block] = element(image, y, x, c);
      }
    }
  });
}

}  // namespace

void write_input(View<const float, 4> images, const Blob& dst) {
  write(dst, images.shape[0],
        [&](int64_t image, int64_t y, int64_t x, int64_t c) { return images(image, y, x, c); });
}

void write_input(View<const uint8_t, 4> images, const PixelTable& table, const Blob& dst) {
  write(dst, images.shape[0], [&](int64_t image, int64_t y, int64_t x, int64_t c) {
    const auto channel = static_cast<size_t>(c);
    return table.value[channel][images(image, y, x, table.pixel_channel[channel])];
  });
}

}  // namespace branchsae::cpu
