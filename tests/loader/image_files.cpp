#include "tests/loader/image_files.h"

// jpeglib.h needs these first.
#include <cstddef>
#include <cstdio>

#include <jpeglib.h>
#include <png.h>

#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#define STBI_WRITE_NO_STDIO
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wshadow"
#include <stb/stb_image_write.h>
#pragma GCC diagnostic pop

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "engine/error.h"

namespace branchsae::test {
namespace {

uint8_t byte_of(int64_t value) {
  return static_cast<uint8_t>(value);
}

void append_u16_le(std::string& to, int64_t value) {
  to += static_cast<char>(value & 255);
  to += static_cast<char>(value >> 8 & 255);
}

void append_to_string(void* context, void* data, int size) {
  static_cast<std::string*>(context)->append(static_cast<const char*>(data), static_cast<size_t>(size));
}

/// What one pixel's samples are in the file's own colour space.
std::vector<uint8_t> samples_of(const uint8_t* rgb, const JpegOptions& options) {
  using Colour = JpegOptions::Colour;
  if (options.colour == Colour::kGrey) return {rgb[1]};
  if (options.colour == Colour::kCmyk || options.colour == Colour::kYcck) {
    // As much black as the pixel allows, so that all four inks matter. Inverted samples are light, not ink.
    const int light = std::max({rgb[0], rgb[1], rgb[2], uint8_t{1}});
    const uint8_t flip = options.adobe_marker ? 0 : 255;
    std::vector<uint8_t> samples;
    for (int c = 0; c < 3; ++c) samples.push_back(byte_of((rgb[c] * 255 + light / 2) / light ^ flip));
    samples.push_back(byte_of(light ^ flip));
    return samples;
  }
  return {rgb[0], rgb[1], rgb[2]};
}

void set_colours(jpeg_compress_struct& info, const JpegOptions& options) {
  using Colour = JpegOptions::Colour;
  const bool four = options.colour == Colour::kCmyk || options.colour == Colour::kYcck;
  info.input_components = options.colour == Colour::kGrey ? 1 : four ? 4 : 3;
  info.in_color_space = options.colour == Colour::kGrey ? JCS_GRAYSCALE : four ? JCS_CMYK : JCS_RGB;
  jpeg_set_defaults(&info);
  switch (options.colour) {
    case Colour::kYcc:
      jpeg_set_colorspace(&info, JCS_YCbCr);
      break;
    case Colour::kRgb:
      jpeg_set_colorspace(&info, JCS_RGB);
      break;
    case Colour::kGrey:
      jpeg_set_colorspace(&info, JCS_GRAYSCALE);
      break;
    case Colour::kCmyk:
      jpeg_set_colorspace(&info, JCS_CMYK);
      break;
    case Colour::kYcck:
      jpeg_set_colorspace(&info, JCS_YCCK);
      break;
  }
  if (four) info.write_Adobe_marker = options.adobe_marker ? TRUE : FALSE;
}

}  // namespace

RgbImage gradient(int64_t width, int64_t height) {
  RgbImage image{.width = width, .height = height};
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      image.pixels.push_back(byte_of(20 + 200 * x / width));
      image.pixels.push_back(byte_of(30 + 200 * y / height));
      image.pixels.push_back(byte_of(240 - 100 * x / width - 100 * y / height));
    }
  }
  return image;
}

RgbImage flat(int64_t width, int64_t height, uint8_t r, uint8_t g, uint8_t b) {
  RgbImage image{.width = width, .height = height};
  for (int64_t i = 0; i < width * height; ++i) image.pixels.insert(image.pixels.end(), {r, g, b});
  return image;
}

std::string encode_jpeg(const RgbImage& image, const JpegOptions& options) {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* buffer = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &buffer, &size);
  info.image_width = static_cast<JDIMENSION>(image.width);
  info.image_height = static_cast<JDIMENSION>(image.height);
  set_colours(info, options);
  jpeg_set_quality(&info, options.quality, TRUE);
  if (options.progressive) jpeg_simple_progression(&info);
  info.arith_code = options.arithmetic ? TRUE : FALSE;
  info.restart_interval = static_cast<unsigned>(options.restart_interval);
  info.comp_info[0].h_samp_factor = options.horizontal_sampling;
  info.comp_info[0].v_samp_factor = options.vertical_sampling;
  jpeg_start_compress(&info, TRUE);
  if (!options.app1.empty()) {
    jpeg_write_marker(&info, JPEG_APP0 + 1, reinterpret_cast<const JOCTET*>(options.app1.data()),
                      static_cast<unsigned>(options.app1.size()));
  }
  std::vector<uint8_t> row;
  for (int64_t y = 0; y < image.height; ++y) {
    row.clear();
    for (int64_t x = 0; x < image.width; ++x) {
      const auto samples = samples_of(image.pixels.data() + (y * image.width + x) * 3, options);
      row.insert(row.end(), samples.begin(), samples.end());
    }
    JSAMPROW pointer = row.data();
    jpeg_write_scanlines(&info, &pointer, 1);
  }
  jpeg_finish_compress(&info);
  std::string bytes(reinterpret_cast<char*>(buffer), size);
  jpeg_destroy_compress(&info);
  std::free(buffer);
  return bytes;
}

std::string exif_block(int orientation, bool big_endian) {
  using namespace std::string_literals;
  const auto o = static_cast<char>(orientation);
  if (big_endian) {
    return "Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0"s + o + "\0\0\0\0\0\0"s;
  }
  return "Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0"s + o + "\0\0\0\0\0\0\0"s;
}

std::string encode_png(int64_t width, int64_t height, const std::vector<uint8_t>& rows,
                       const PngOptions& options) {
  std::string bytes;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_set_write_fn(
      png, &bytes,
      [](png_structp p, png_bytep data, size_t size) {
        append_to_string(png_get_io_ptr(p), data, static_cast<int>(size));
      },
      nullptr);
  png_set_IHDR(png, info, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height),
               options.bit_depth, options.color_type,
               options.interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  if (!options.palette.empty()) {
    std::vector<png_color> colours;
    for (size_t i = 0; i + 2 < options.palette.size(); i += 3) {
      colours.push_back({options.palette[i], options.palette[i + 1], options.palette[i + 2]});
    }
    png_set_PLTE(png, info, colours.data(), static_cast<int>(colours.size()));
  }
  if (!options.palette_alpha.empty()) {
    png_set_tRNS(png, info, options.palette_alpha.data(), static_cast<int>(options.palette_alpha.size()),
                 nullptr);
  }
  std::vector<uint8_t> data = rows;
  const size_t row_bytes = data.size() / static_cast<size_t>(height);
  std::vector<png_bytep> pointers;
  for (size_t y = 0; y < static_cast<size_t>(height); ++y) pointers.push_back(data.data() + y * row_bytes);
  png_set_rows(png, info, pointers.data());
  png_write_png(png, info, PNG_TRANSFORM_IDENTITY, nullptr);
  png_destroy_write_struct(&png, &info);
  return bytes;
}

std::string encode_png(const RgbImage& image) {
  return encode_png(image.width, image.height, image.pixels);
}

std::string encode_bmp(const RgbImage& image) {
  std::string bytes;
  stbi_write_bmp_to_func(append_to_string, &bytes, static_cast<int>(image.width),
                         static_cast<int>(image.height), 3, image.pixels.data());
  return bytes;
}

std::string encode_bmp(int64_t width, int64_t height, const std::vector<uint8_t>& indices,
                       const std::vector<uint8_t>& palette) {
  const auto colours = static_cast<int64_t>(palette.size() / 3);
  std::string bytes = "BM";
  const auto append_u32 = [&](int64_t value) {
    append_u16_le(bytes, value & 0xFFFF);
    append_u16_le(bytes, value >> 16);
  };
  const int64_t row_bytes = (width + 3) / 4 * 4;
  const int64_t pixels_at = 54 + 4 * colours;
  for (const int64_t value :
       {pixels_at + row_bytes * height, int64_t{0}, pixels_at, int64_t{40}, width, height}) {
    append_u32(value);
  }
  append_u16_le(bytes, 1);
  append_u16_le(bytes, 8);
  for (const int64_t value :
       {int64_t{0}, row_bytes * height, int64_t{2835}, int64_t{2835}, colours, int64_t{0}}) {
    append_u32(value);
  }
  for (size_t i = 0; i + 2 < palette.size(); i += 3) {
    for (const size_t c : {2, 1, 0}) bytes += static_cast<char>(palette[i + c]);
    bytes += '\0';
  }
  for (int64_t y = height - 1; y >= 0; --y) {
    const auto row = indices.begin() + y * width;
    bytes.append(row, row + width);
    bytes.append(static_cast<size_t>(row_bytes - width), '\0');
  }
  return bytes;
}

std::string encode_tga(const RgbImage& image, bool run_length) {
  stbi_write_tga_with_rle = run_length ? 1 : 0;
  std::string bytes;
  stbi_write_tga_to_func(append_to_string, &bytes, static_cast<int>(image.width),
                         static_cast<int>(image.height), 3, image.pixels.data());
  return bytes;
}

std::string encode_ppm(const RgbImage& image) {
  std::string bytes = "P6\n" + std::to_string(image.width) + " " + std::to_string(image.height) + "\n255\n";
  bytes.append(image.pixels.begin(), image.pixels.end());
  return bytes;
}

std::string encode_gif(int64_t width, int64_t height, const std::vector<uint8_t>& indices,
                       const std::vector<uint8_t>& palette, bool first_is_transparent) {
  std::string bytes = "GIF89a";
  append_u16_le(bytes, width);
  append_u16_le(bytes, height);
  bytes += '\xF6';  // global table of 128 colours
  bytes.append(2, '\0');
  std::string table(palette.begin(), palette.end());
  table.resize(128 * 3);
  bytes += table;
  if (first_is_transparent) bytes.append("\x21\xF9\x04\x01\0\0\0\0", 8);
  bytes += ',';
  bytes.append(4, '\0');
  append_u16_le(bytes, width);
  append_u16_le(bytes, height);
  bytes += '\0';
  bytes += '\x07';  // 7-bit colours, hence 8-bit codes: 128 clears the table, 129 ends
  std::string codes;
  for (size_t i = 0; i < indices.size(); ++i) {
    // Clearing often keeps the table below 256 entries and every code at 8 bits.
    if (i % 100 == 0) codes += '\x80';
    codes += static_cast<char>(indices[i]);
  }
  codes += '\x81';
  for (size_t at = 0; at < codes.size(); at += 255) {
    const size_t count = std::min<size_t>(255, codes.size() - at);
    bytes += static_cast<char>(count);
    bytes += codes.substr(at, count);
  }
  bytes += '\0';
  return bytes + ';';
}

std::string octal(size_t digits, int64_t value) {
  std::string text;
  for (; value > 0 || text.size() < digits; value /= 8)
    text.insert(text.begin(), static_cast<char>('0' + value % 8));
  return text;
}

void write_bytes(const std::filesystem::path& path, const std::string& bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream stream(path, std::ios::binary);
  stream << bytes;
  if (!stream.flush()) throw IoError("cannot write '" + path.string() + "'");
}

RgbImage decode(const std::string& bytes, std::string_view name, int64_t max_pixels) {
  return decode_image({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, name, max_pixels);
}

std::string refusal(const std::string& bytes, std::string_view name, int64_t max_pixels) {
  try {
    decode(bytes, name, max_pixels);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

int largest_difference(const RgbImage& a, const RgbImage& b) {
  if (a.width != b.width || a.height != b.height || a.pixels.size() != b.pixels.size()) return 256;
  int largest = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i)
    largest = std::max(largest, std::abs(a.pixels[i] - b.pixels[i]));
  return largest;
}

}  // namespace branchsae::test
