#pragma once
/// Encoded image files to 8-bit RGB. Nothing here prints, exits or trusts its input.
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace branchsae {

/// 8-bit RGB, row-major [height, width, 3], upright.
struct RgbImage {
  int64_t width = 0;
  int64_t height = 0;
  std::vector<uint8_t> pixels{};
};

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
RgbImage decode_image(std::span<const uint8_t> bytes, std::string_view name, int64_t max_pixels);

/// Whether a file that begins with these 16 bytes is of a format with a signature, read here or not.
bool has_image_signature(std::span<const uint8_t> head);

}  // namespace branchsae
