#pragma once
/// Encoders for tests: small image files made on the spot, in the dress each test needs.
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "loader/image_decode.h"

namespace branchsae::test {

/// Smooth colours that differ in every channel and along both axes: survives JPEG, and shows any turn.
RgbImage gradient(int64_t width, int64_t height);
/// One colour.
RgbImage flat(int64_t width, int64_t height, uint8_t r, uint8_t g, uint8_t b);

struct JpegOptions {
  enum class Colour { kYcc, kRgb, kGrey, kCmyk, kYcck };
  Colour colour = Colour::kYcc;
  int quality = 95;
  bool progressive = false;
  bool arithmetic = false;
  int horizontal_sampling = 1;  ///< of luma against chroma: 4 and 1 is 4:1:1
  int vertical_sampling = 1;
  int restart_interval = 0;
  bool adobe_marker = true;  ///< of CMYK files, whose samples are then inverted
  std::string app1 = {};     ///< content of an APP1 segment
};
/// CMYK files hold the picture in four inks, with as much black as each pixel allows.
std::string encode_jpeg(const RgbImage& image, const JpegOptions& options = {});

/// "Exif\0\0" and a TIFF block with the orientation, for JpegOptions::app1.
std::string exif_block(int orientation, bool big_endian = false);

struct PngOptions {
  int bit_depth = 8;
  int color_type = 2;  ///< PNG_COLOR_TYPE_RGB
  bool interlaced = false;
  std::vector<uint8_t> palette = {};        ///< RGB triples
  std::vector<uint8_t> palette_alpha = {};  ///< tRNS of a palette image
};
/// rows: packed as PNG stores them, [height, bytes of a row].
std::string encode_png(int64_t width, int64_t height, const std::vector<uint8_t>& rows,
                       const PngOptions& options = {});
std::string encode_png(const RgbImage& image);

std::string encode_bmp(const RgbImage& image);
/// 8-bit indices into a palette of RGB triples.
std::string encode_bmp(int64_t width, int64_t height, const std::vector<uint8_t>& indices,
                       const std::vector<uint8_t>& palette);
std::string encode_tga(const RgbImage& image, bool run_length);
std::string encode_ppm(const RgbImage& image);
/// At most 128 colours; index 0 is transparent when asked for. Codes are never packed, so any GIF reader can
/// follow.
std::string encode_gif(int64_t width, int64_t height, const std::vector<uint8_t>& indices,
                       const std::vector<uint8_t>& palette, bool first_is_transparent = false);

/// `value` in at least `digits` octal digits, as tar headers hold numbers.
std::string octal(size_t digits, int64_t value);

void write_bytes(const std::filesystem::path& path, const std::string& bytes);

/// decode_image of a string with a generous pixel cap.
RgbImage decode(const std::string& bytes, std::string_view name = "x", int64_t max_pixels = 1 << 24);
/// The reason for which decode_image refuses; empty when it does not.
std::string refusal(const std::string& bytes, std::string_view name = "x", int64_t max_pixels = 1 << 24);

/// Largest difference of any sample; 256 when the sizes differ.
int largest_difference(const RgbImage& a, const RgbImage& b);

}  // namespace branchsae::test
