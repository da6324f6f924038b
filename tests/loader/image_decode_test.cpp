#include <doctest/doctest.h>
#include <png.h>

#include <cmath>

#include "tests/loader/image_files.h"

using namespace branchsae;
using namespace branchsae::test;
using Colour = JpegOptions::Colour;

namespace {

/// At quality 95 a smooth picture comes back within a few levels: quantisation steps are below 10, and the
/// inverse transforms and colour conversion add rounding.
constexpr int kJpegTolerance = 6;
/// Chroma averaged over up to 4 pixels of a ramp of 200 / 48 levels a pixel, then interpolated.
constexpr int kSubsampledTolerance = 16;

RgbImage grey_of_green(RgbImage image) {
  for (size_t i = 0; i < image.pixels.size(); i += 3) {
    image.pixels[i] = image.pixels[i + 2] = image.pixels[i + 1];
  }
  return image;
}

std::vector<uint8_t> big_endian_16(const std::vector<uint16_t>& values) {
  std::vector<uint8_t> bytes;
  for (const uint16_t value : values) {
    bytes.push_back(static_cast<uint8_t>(value >> 8));
    bytes.push_back(static_cast<uint8_t>(value & 255));
  }
  return bytes;
}

std::vector<uint8_t> greys(const RgbImage& image) {
  std::vector<uint8_t> values;
  for (size_t i = 0; i < image.pixels.size(); i += 3) {
    CHECK(image.pixels[i] == image.pixels[i + 1]);
    CHECK(image.pixels[i] == image.pixels[i + 2]);
    values.push_back(image.pixels[i]);
  }
  return values;
}

}  // namespace

TEST_CASE("JPEG: every colour space, progressive, arithmetic, subsampled, with restarts") {
  const RgbImage picture = gradient(48, 37);
  for (const bool progressive : {false, true}) {
    CAPTURE(progressive);
    const auto difference = [&](JpegOptions options) {
      options.progressive = progressive;
      return largest_difference(decode(encode_jpeg(picture, options)), picture);
    };
    CHECK(difference({}) <= kJpegTolerance);
    CHECK(difference({.colour = Colour::kRgb}) <= kJpegTolerance);
    CHECK(difference({.colour = Colour::kCmyk}) <= kJpegTolerance);
    CHECK(difference({.colour = Colour::kYcck}) <= kJpegTolerance);
    CHECK(difference({.colour = Colour::kCmyk, .adobe_marker = false}) <= kJpegTolerance);
    CHECK(difference({.arithmetic = true}) <= kJpegTolerance);
    CHECK(difference({.restart_interval = 2}) <= kJpegTolerance);
    CHECK(difference({.horizontal_sampling = 2}) <= kSubsampledTolerance);
    CHECK(difference({.horizontal_sampling = 2, .vertical_sampling = 2}) <= kSubsampledTolerance);
    CHECK(difference({.horizontal_sampling = 4}) <= kSubsampledTolerance);
    const JpegOptions grey{.colour = Colour::kGrey, .progressive = progressive};
    CHECK(largest_difference(decode(encode_jpeg(picture, grey)), grey_of_green(picture)) <= kJpegTolerance);
  }
}

TEST_CASE("JPEG: EXIF orientation is applied, in either byte order") {
  const RgbImage upright = gradient(48, 32);
  for (int orientation = 1; orientation <= 8; ++orientation) {
    CAPTURE(orientation);
    // Stored pixel of upright (x, y) by the standard's words for row 0 and column 0 of the stored image.
    RgbImage stored{.width = orientation >= 5 ? 32 : 48, .height = orientation >= 5 ? 48 : 32};
    stored.pixels.resize(upright.pixels.size());
    for (int64_t v = 0; v < stored.height; ++v) {
      for (int64_t u = 0; u < stored.width; ++u) {
        const int64_t right = upright.width - 1, bottom = upright.height - 1;
        int64_t x = 0, y = 0;
        switch (orientation) {
          case 1:
            x = u;
            y = v;
            break;  // row 0 top, column 0 left
          case 2:
            x = right - u;
            y = v;
            break;  // top, right
          case 3:
            x = right - u;
            y = bottom - v;
            break;  // bottom, right
          case 4:
            x = u;
            y = bottom - v;
            break;  // bottom, left
          case 5:
            x = v;
            y = u;
            break;  // left, top
          case 6:
            x = right - v;
            y = u;
            break;  // right, top
          case 7:
            x = right - v;
            y = bottom - u;
            break;  // right, bottom
          case 8:
            x = v;
            y = bottom - u;
            break;  // left, bottom
        }
        for (int64_t c = 0; c < 3; ++c) {
          stored.pixels[static_cast<size_t>((v * stored.width + u) * 3 + c)] =
              upright.pixels[static_cast<size_t>((y * upright.width + x) * 3 + c)];
        }
      }
    }
    for (const bool big_endian : {false, true}) {
      const std::string file = encode_jpeg(stored, {.app1 = exif_block(orientation, big_endian)});
      CHECK(largest_difference(decode(file), upright) <= kJpegTolerance);
    }
  }
}

TEST_CASE("JPEG: a damaged or foreign EXIF block leaves the picture as stored") {
  const RgbImage picture = gradient(24, 16);
  std::string cut = exif_block(6);
  cut.resize(cut.size() - 9);
  std::string far_directory = exif_block(6);
  far_directory[10] = '\xFF';
  far_directory[13] = '\x7F';
  for (const std::string& app1 :
       {exif_block(0), exif_block(9), cut, far_directory, std::string("Exif\0\0", 6),
        std::string("http://ns.adobe.com/xap/1.0/"), exif_block(6).substr(6)}) {
    CHECK(largest_difference(decode(encode_jpeg(picture, {.app1 = app1})), picture) <= kJpegTolerance);
  }
}

TEST_CASE("JPEG: what is cut or damaged is refused with a reason, what is whole is not") {
  const RgbImage picture = gradient(64, 64);
  for (const bool progressive : {false, true}) {
    CAPTURE(progressive);
    const std::string whole = encode_jpeg(picture, {.progressive = progressive});
    for (size_t kept = 3; kept < whole.size() - 20; kept += 37) {
      CAPTURE(kept);
      CHECK(refusal(whole.substr(0, kept)) != "");
    }
    CHECK(refusal(whole + "trailing bytes") == "");
  }
  const std::string baseline = encode_jpeg(picture);
  CHECK(refusal(baseline.substr(0, baseline.size() - 2)) == "");  // only the end-of-image marker is missing
  CHECK(refusal(baseline.substr(0, baseline.size() / 2)).find("premature end") != std::string::npos);
  CHECK(refusal("\xFF\xD8\xFF") != "");
  CHECK(refusal(baseline, "x", 64 * 64 - 1).find("64x64") != std::string::npos);
  CHECK(refusal(baseline, "x", 64 * 64) == "");
}

TEST_CASE("PNG: colour types and bit depths") {
  const RgbImage picture = gradient(21, 13);
  CHECK(largest_difference(decode(encode_png(picture)), picture) == 0);

  for (const bool interlaced : {false, true}) {
    CAPTURE(interlaced);
    CHECK(largest_difference(decode(encode_png(21, 13, picture.pixels, {.interlaced = interlaced})),
                             picture) == 0);
    const auto grey = [&](int64_t width, const std::vector<uint8_t>& rows, int depth) {
      return greys(decode(
          encode_png(width, 1, rows,
                     {.bit_depth = depth, .color_type = PNG_COLOR_TYPE_GRAY, .interlaced = interlaced})));
    };
    CHECK(grey(3, {0b10100000}, 1) == std::vector<uint8_t>{255, 0, 255});
    CHECK(grey(4, {0b00011011}, 2) == std::vector<uint8_t>{0, 85, 170, 255});
    CHECK(grey(2, {0x3F}, 4) == std::vector<uint8_t>{51, 255});
    CHECK(grey(2, {7, 200}, 8) == std::vector<uint8_t>{7, 200});
    // round(v / 257)
    CHECK(grey(6, big_endian_16({0, 128, 129, 65535, 257 * 100 + 128, 257 * 100 + 129}), 16) ==
          std::vector<uint8_t>{0, 0, 1, 255, 100, 101});
  }
  const std::vector<uint8_t> palette = {1, 2, 3, 250, 20, 30};
  const PngOptions indexed{.bit_depth = 1, .color_type = PNG_COLOR_TYPE_PALETTE, .palette = palette};
  CHECK(decode(encode_png(2, 1, {0b01000000}, indexed)).pixels == palette);
}

TEST_CASE("PNG: 16-bit colour is rounded by value / 257 for every value") {
  std::vector<uint16_t> values(65536);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<uint16_t>(i);
  const auto got = greys(decode(
      encode_png(256, 256, big_endian_16(values), {.bit_depth = 16, .color_type = PNG_COLOR_TYPE_GRAY})));
  int64_t wrong = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    wrong += got[i] != std::lround(static_cast<double>(i) / 257.0);
  }
  CHECK(wrong == 0);
}

TEST_CASE("PNG: alpha is composited on white") {
  const std::vector<uint8_t> rgba = {10, 20, 30, 255, 10, 20, 30, 0, 0, 100, 255, 128};
  const std::vector<uint8_t> expected = {10, 20, 30, 255, 255, 255, 127, 177, 255};
  CHECK(decode(encode_png(3, 1, rgba, {.color_type = PNG_COLOR_TYPE_RGBA})).pixels == expected);
  CHECK(greys(decode(encode_png(2, 1, {50, 255, 50, 51}, {.color_type = PNG_COLOR_TYPE_GRAY_ALPHA}))) ==
        std::vector<uint8_t>{50, 214});
  const PngOptions see_through{
      .color_type = PNG_COLOR_TYPE_PALETTE, .palette = {1, 2, 3, 4, 5, 6}, .palette_alpha = {0}};
  CHECK(decode(encode_png(2, 1, {0, 1}, see_through)).pixels == std::vector<uint8_t>{255, 255, 255, 4, 5, 6});
}

TEST_CASE("PNG: what is cut or damaged is refused") {
  const std::string whole = encode_png(gradient(40, 30));
  for (size_t kept = 8; kept < whole.size() - 12; kept += 13) {
    CAPTURE(kept);
    CHECK(refusal(whole.substr(0, kept)) != "");
  }
  std::string damaged = whole;
  damaged[whole.size() / 2] = static_cast<char>(damaged[whole.size() / 2] ^ 0x55);
  CHECK(refusal(damaged) != "");
  CHECK(refusal(whole, "x", 40 * 30 - 1).find("40x30") != std::string::npos);
}

TEST_CASE("BMP and TGA") {
  const RgbImage picture = gradient(33, 17);
  const std::string bmp = encode_bmp(picture);
  CHECK(largest_difference(decode(bmp), picture) == 0);
  CHECK(refusal(bmp.substr(0, bmp.size() - 100)).find("premature end") != std::string::npos);
  CHECK(refusal(bmp.substr(0, 20)) != "");
  CHECK(refusal(bmp, "x", 33 * 17 - 1).find("33x17") != std::string::npos);

  for (const bool run_length : {false, true}) {
    const std::string tga = encode_tga(picture, run_length);
    CHECK(largest_difference(decode(tga, "PHOTO.TGA"), picture) == 0);
    CHECK(refusal(tga.substr(0, tga.size() - 150), "a.tga").find("premature end") != std::string::npos);
    CHECK(refusal(tga, "photo.jpg").find("is no JPEG") != std::string::npos);
    CHECK(largest_difference(decode(tga + std::string("\0\0\0\0\0\0\0\0TRUEVISION-XFILE.\0", 26), "photo"),
                             picture) == 0);
  }
}

TEST_CASE("BMP with a palette") {
  const std::vector<uint8_t> palette = {1, 2, 3, 40, 50, 60};
  const std::string file = encode_bmp(3, 2, {0, 1, 0, 1, 1, 0}, palette);
  CHECK(decode(file).pixels ==
        std::vector<uint8_t>{1, 2, 3, 40, 50, 60, 1, 2, 3, 40, 50, 60, 40, 50, 60, 1, 2, 3});
}

TEST_CASE("BMP: every length cut short is refused, whatever stb_image's read-ahead") {
  // 128 bytes is stb_image's buffer: sizes around its multiples are where a cut could go unnoticed.
  for (const int64_t width : {32, 40, 43, 64, 85, 86, 128}) {
    const std::string bmp = encode_bmp(gradient(width, 3));
    const size_t padding = static_cast<size_t>((4 - width * 3 % 4) % 4);
    for (size_t kept = 0; kept < bmp.size() - padding; ++kept) {
      CAPTURE(width);
      CAPTURE(kept);
      REQUIRE(refusal(bmp.substr(0, kept)) != "");
    }
  }
}

TEST_CASE("GIF: first frame, transparency on white") {
  std::vector<uint8_t> palette, indices, expected;
  for (int i = 0; i < 128 * 3; ++i) palette.push_back(static_cast<uint8_t>(i * 5 % 251));
  for (int i = 0; i < 30 * 20; ++i) {
    const auto index = static_cast<uint8_t>(i % 128);
    indices.push_back(index);
    expected.insert(expected.end(), palette.begin() + 3 * index, palette.begin() + 3 * index + 3);
  }
  const std::string gif = encode_gif(30, 20, indices, palette);
  const RgbImage opaque = decode(gif);
  CHECK(opaque.width == 30);
  CHECK(opaque.height == 20);
  CHECK(opaque.pixels == expected);
  CHECK(refusal(gif.substr(0, gif.size() / 2)) != "");
  CHECK(refusal(gif, "x", 599).find("30x20") != std::string::npos);

  const RgbImage holes = decode(encode_gif(30, 20, indices, palette, true));
  for (size_t i = 0; i < indices.size(); ++i) {
    for (size_t c = 0; c < 3; ++c) {
      REQUIRE(holes.pixels[3 * i + c] == (indices[i] == 0 ? 255 : expected[3 * i + c]));
    }
  }
}

TEST_CASE("PNM: all six kinds, comments, any maximum") {
  const RgbImage picture = gradient(9, 5);
  CHECK(largest_difference(decode(encode_ppm(picture)), picture) == 0);
  const auto values = [](const std::string& text) { return greys(decode(text)); };
  CHECK(values("P1\n# a comment\n3 1\n1 01") == std::vector<uint8_t>{0, 255, 0});
  CHECK(values("P2 2 1 100 0 50") == std::vector<uint8_t>{0, 128});
  CHECK(decode("P3\n1 1 # size\n255\n1 2 3\n").pixels == std::vector<uint8_t>{1, 2, 3});
  CHECK(values("P4 3 2\n\xA0\x40") == std::vector<uint8_t>{0, 255, 0, 255, 0, 255});
  CHECK(values("P5 2 1 1\n\x01\x07") == std::vector<uint8_t>{255, 255});  // above the maximum: the maximum
  CHECK(values(std::string("P5 2 1 65535\n\x01\x01\xFF\xFF", 17)) == std::vector<uint8_t>{1, 255});
  for (const char* text :
       {"P6", "P6 2", "P6 2 2 255", "P6 2 2 255\nabc", "P6 0 2 255\n", "P6 -1 2 255\n",
        "P6 2 2 0\nabcdefghijkl", "P6 2 2 70000\n", "P6 99999999999999999999 1 255\n",
        "P6 100000 100000 255\n", "P1 2 1 1", "P1 2 1 12", "P2 2 1 255 1", "P3 1 1 255 x"}) {
    CAPTURE(text);
    CHECK(refusal(text) != "");
  }
}

TEST_CASE("what is no image is named") {
  CHECK(refusal("") == "is empty");
  CHECK(refusal("<html>").find("bytes 3c 68 74 6d") != std::string::npos);
  CHECK(refusal("RIFF\x01\x02\x03\x04WEBPVP8 ").find("WebP") != std::string::npos);
  CHECK(refusal("RIFF\x01\x02\x03\x04WEBPVP8 ", "photo.tga").find("WebP") != std::string::npos);
  CHECK(refusal("version https://git-lfs.github.com/spec/v1\n").find("git lfs pull") != std::string::npos);
  CHECK(refusal(std::string(3, '\0'), "a.tga") != "");
}
