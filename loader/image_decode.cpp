#include "loader/image_decode.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <new>

#include "engine/error.h"
#include "loader/image_codecs.h"

namespace branchsae {
namespace {

using loader::Bytes;
using namespace std::string_view_literals;

bool has_at(Bytes bytes, size_t offset, std::string_view text) {
  return bytes.size() >= offset + text.size() &&
         std::equal(text.begin(), text.end(), bytes.begin() + static_cast<std::ptrdiff_t>(offset),
                    [](char a, uint8_t b) { return static_cast<uint8_t>(a) == b; });
}

/// The letters and the size of the header behind the first one: text may well begin with "BM".
bool is_bmp(Bytes bytes) {
  constexpr int kHeaderSizes[] = {12, 40, 52, 56, 64, 108, 124};
  return has_at(bytes, 0, "BM") && bytes.size() > 15 &&
         std::ranges::count(kHeaderSizes, bytes[14] | bytes[15] << 8) > 0;
}

bool is_pnm(Bytes bytes) {
  return bytes.size() >= 4 && bytes[0] == 'P' && bytes[1] >= '1' && bytes[1] <= '6' &&
         (std::isspace(bytes[2]) != 0 || bytes[2] == '#') &&
         (std::isspace(bytes[3]) != 0 || std::isdigit(bytes[3]) != 0 || bytes[3] == '#' || bytes[2] == '#');
}

/// TGA has no signature: a footer that newer files carry, or the file's name, has to speak for it.
bool may_be_tga(Bytes bytes, std::string_view name) {
  constexpr size_t kFooterBytes = 18;
  if (bytes.size() > kFooterBytes && has_at(bytes, bytes.size() - kFooterBytes, "TRUEVISION-XFILE.\0"sv)) {
    return true;
  }
  std::string ending(name.substr(name.size() - std::min<size_t>(name.size(), 4)));
  std::transform(ending.begin(), ending.end(), ending.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return ending == ".tga";
}

/// Formats that people do keep photos in and that are not read here.
const char* unsupported_format(Bytes bytes) {
  if (has_at(bytes, 0, "RIFF") && has_at(bytes, 8, "WEBP")) return "WebP";
  if (has_at(bytes, 0, "II*\0"sv) || has_at(bytes, 0, "MM\0*"sv)) return "TIFF";
  if (has_at(bytes, 4, "ftypavif") || has_at(bytes, 4, "ftypavis")) return "AVIF";
  if (has_at(bytes, 4, "ftyphei") || has_at(bytes, 4, "ftyphev") || has_at(bytes, 4, "ftypmif1"))
    return "HEIC";
  if (has_at(bytes, 0, "\0\0\0\x0CjP  "sv) || has_at(bytes, 0, "\xFF\x4F\xFF\x51"sv)) return "JPEG 2000";
  if (has_at(bytes, 0, "\xFF\x0A"sv) || has_at(bytes, 0, "\0\0\0\x0CJXL "sv)) return "JPEG XL";
  if (has_at(bytes, 0, "8BPS")) return "Photoshop";
  return nullptr;
}

[[noreturn]] void refuse(Bytes bytes) {
  if (bytes.empty()) throw InputError("is empty");
  if (const char* format = unsupported_format(bytes)) {
    throw InputError("is a " + std::string(format) + " image; JPEG, PNG, BMP, GIF, TGA and PNM are read");
  }
  if (has_at(bytes, 0, "version https://git-lfs")) {
    throw InputError("is a Git LFS pointer, not the image itself; fetch it with: git lfs pull");
  }
  std::string start;
  for (const uint8_t byte : bytes.first(std::min<size_t>(bytes.size(), 4))) {
    char text[4];
    std::snprintf(text, sizeof text, " %02x", byte);
    start += text;
  }
  throw InputError("is no JPEG, PNG, BMP, GIF, TGA or PNM image (it begins with bytes" + start + ")");
}

enum class Format { kJpeg, kPng, kGif, kBmp, kPnm, kUnsupported, kUnknown };

Format format_of(Bytes bytes) {
  if (has_at(bytes, 0, "\xFF\xD8\xFF")) return Format::kJpeg;
  if (has_at(bytes, 0, "\x89PNG\r\n\x1A\n")) return Format::kPng;
  if (has_at(bytes, 0, "GIF87a") || has_at(bytes, 0, "GIF89a")) return Format::kGif;
  if (is_bmp(bytes)) return Format::kBmp;
  if (is_pnm(bytes)) return Format::kPnm;
  return unsupported_format(bytes) != nullptr ? Format::kUnsupported : Format::kUnknown;
}

RgbImage decode_by_format(Bytes bytes, std::string_view name, int64_t max_pixels, int64_t least_side) {
  switch (format_of(bytes)) {
    case Format::kJpeg:
      return loader::decode_jpeg(bytes, max_pixels, least_side);
    case Format::kPng:
      return loader::decode_png(bytes, max_pixels);
    case Format::kGif:
      return loader::decode_with_stb(bytes, "GIF", max_pixels);
    case Format::kBmp:
      return loader::decode_with_stb(bytes, "BMP", max_pixels);
    case Format::kPnm:
      return loader::decode_pnm(bytes, max_pixels);
    case Format::kUnknown:
      if (may_be_tga(bytes, name)) return loader::decode_with_stb(bytes, "TGA", max_pixels);
      break;
    case Format::kUnsupported:
      break;
  }
  refuse(bytes);
}

}  // namespace

RgbImage decode_image(std::span<const uint8_t> bytes, std::string_view name, int64_t max_pixels,
                      int64_t least_side) {
  try {
    return decode_by_format(bytes, name, max_pixels, least_side);
  } catch (const std::bad_alloc&) {
    throw InputError("does not fit in memory when decoded");
  }
}

bool has_image_signature(std::span<const uint8_t> head) {
  return format_of(head) != Format::kUnknown;
}

namespace loader {

void check_size(int64_t width, int64_t height, int64_t max_pixels) {
  const std::string size = std::to_string(width) + "x" + std::to_string(height);
  if (width < 1 || height < 1) throw InputError("has no pixels (" + size + ")");
  if (width > max_pixels / height) {
    throw InputError("is " + size + ", more than the cap of " + std::to_string(max_pixels) + " pixels");
  }
}

RgbImage make_image(int64_t width, int64_t height, int64_t max_pixels) {
  check_size(width, height, max_pixels);
  RgbImage image{.width = width, .height = height};
  image.pixels.resize(static_cast<size_t>(width * height * 3));
  return image;
}

void composite_on_white(const uint8_t* rgba, int64_t count, uint8_t* rgb) {
  for (int64_t i = 0; i < count; ++i, rgba += 4, rgb += 3) {
    const int alpha = rgba[3];
    for (int c = 0; c < 3; ++c) {
      rgb[c] = static_cast<uint8_t>((rgba[c] * alpha + 255 * (255 - alpha) + 127) / 255);
    }
  }
}

}  // namespace loader
}  // namespace branchsae
