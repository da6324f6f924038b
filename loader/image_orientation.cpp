#include <utility>

#include "loader/image_codecs.h"

namespace branchsae::loader {
namespace {

/// Numbers of a TIFF block, in its byte order; out of range reads as 0.
class TiffReader {
 public:
  explicit TiffReader(Bytes bytes) : bytes_(bytes), little_(byte(0) == 'I') {}
  uint32_t byte(size_t at) const { return at < bytes_.size() ? bytes_[at] : 0U; }
  uint32_t u16(size_t at) const {
    return little_ ? byte(at) | byte(at + 1) << 8 : byte(at) << 8 | byte(at + 1);
  }
  uint32_t u32(size_t at) const {
    return little_ ? u16(at) | u16(at + 2) << 16 : u16(at) << 16 | u16(at + 2);
  }

 private:
  Bytes bytes_;
  bool little_;
};

constexpr uint32_t kOrientationTag = 0x0112;
constexpr uint32_t kShortType = 3;

/// Of the upright image; that of a stored one has nothing before its first pixels.
PixelScale turned(const PixelScale& stored, bool swapped, bool mirror_u, bool mirror_v) {
  return {.denominator = stored.denominator,
          .spare_columns = swapped ? stored.spare_rows : stored.spare_columns,
          .spare_rows = swapped ? stored.spare_columns : stored.spare_rows,
          .spare_first_column = swapped ? mirror_v : mirror_u,
          .spare_first_row = swapped ? mirror_u : mirror_v};
}

}  // namespace

int exif_orientation(Bytes tiff) {
  const TiffReader reader(tiff);
  const bool known_order =
      (reader.byte(0) == 'I' || reader.byte(0) == 'M') && reader.byte(1) == reader.byte(0);
  if (!known_order || reader.u16(2) != 42) return 1;
  const size_t directory = reader.u32(4);
  const size_t entries = reader.u16(directory);
  for (size_t i = 0; i < entries; ++i) {
    const size_t entry = directory + 2 + 12 * i;
    if (entry + 12 > tiff.size()) return 1;
    if (reader.u16(entry) != kOrientationTag) continue;
    const uint32_t value = reader.u16(entry + 8);
    const bool valid = reader.u16(entry + 2) == kShortType && value >= 1 && value <= 8;
    return valid ? static_cast<int>(value) : 1;
  }
  return 1;
}

void make_upright(RgbImage& image, int orientation) {
  if (orientation <= 1 || orientation > 8) return;
  // Upright pixel (x, y) is stored pixel (u, v): first swapped for 5-8, then mirrored within the stored size.
  const bool swapped = orientation >= 5;
  const bool mirror_u = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool mirror_v = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  RgbImage upright{.width = swapped ? image.height : image.width,
                   .height = swapped ? image.width : image.height};
  upright.pixels.resize(image.pixels.size());
  upright.scale = turned(image.scale, swapped, mirror_u, mirror_v);
  uint8_t* to = upright.pixels.data();
  for (int64_t y = 0; y < upright.height; ++y) {
    for (int64_t x = 0; x < upright.width; ++x, to += 3) {
      int64_t u = swapped ? y : x;
      int64_t v = swapped ? x : y;
      if (mirror_u) u = image.width - 1 - u;
      if (mirror_v) v = image.height - 1 - v;
      const uint8_t* from = image.pixels.data() + (v * image.width + u) * 3;
      to[0] = from[0];
      to[1] = from[1];
      to[2] = from[2];
    }
  }
  image = std::move(upright);
}

}  // namespace branchsae::loader
