#pragma once
/// Encoded image files to 8-bit RGB. Nothing here prints, exits or trusts its input.
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace branchsae {

/// How the pixels lie on the photo they are of: each covers denominator x denominator of its own. Where a
/// side is no multiple of that, the last pixel covers more than there is, or the first one does in an image
/// that was turned.
struct PixelScale {
  int64_t denominator = 1;
  int64_t spare_columns = 0, spare_rows = 0;  ///< width * denominator - the photo's width, likewise height
  bool spare_first_column = false, spare_first_row = false;
};

/// 8-bit RGB, row-major [height, width, 3], upright.
struct RgbImage {
  int64_t width = 0;
  int64_t height = 0;
  std::vector<uint8_t> pixels{};
  PixelScale scale{};

  int64_t photo_width() const { return width * scale.denominator - scale.spare_columns; }
  int64_t photo_height() const { return height * scale.denominator - scale.spare_rows; }
};

/// decode_image decodes at full size.
inline constexpr int64_t kFullSize = INT64_MAX;

/// Decodes JPEG (libjpeg-turbo), PNG (libpng), BMP, GIF's first frame and TGA (stb_image), and PNM.
///   format   told by the leading bytes; `name` only lets ".tga" through, a format without a signature
///   grey     repeated in the three channels
///   CMYK     R = (255 - C)(255 - K) / 255 and so on; where an Adobe marker stands the file holds 255 - ink
///   alpha    composited on white
///   16 bit   round(value / 257)
///   EXIF     orientation 1-8 is applied (JPEG; PNG where it precedes the pixels)
///   gamma, colour profiles: ignored, as by the programs that the public weights were trained with
/// A file that ends early or whose entropy-coded data is damaged is unreadable as a whole; stray bytes
/// between JPEG segments are not. Throws InputError with the reason as one line, without the name: not an
/// image, a format that is not read, damaged, more than max_pixels pixels (found before they are allocated).
///
/// A JPEG comes at 1/2, 1/4 or 1/8 of its size, the smallest at which its short side still has least_side
/// pixels or more. The inverse transform then makes the smaller image at once (its low frequencies alone),
/// which saves most of the work that is not entropy decoding; other fractions cost more than they save.
RgbImage decode_image(std::span<const uint8_t> bytes, std::string_view name, int64_t max_pixels,
                      int64_t least_side = kFullSize);

/// Whether a file that begins with these 16 bytes is of a format with a signature, read here or not.
bool has_image_signature(std::span<const uint8_t> head);

}  // namespace branchsae
