/// JPEGs decoded at a fraction of their size: which fraction, and what that changes.
#include <doctest/doctest.h>

#include <cmath>

#include "loader/image_resize.h"
#include "loader/image_source.h"
#include "tests/loader/image_files.h"
#include "tests/test_data.h"

using namespace branchsae;
using namespace branchsae::test;
using Colour = JpegOptions::Colour;

namespace {

RgbImage decode_for(const std::string& bytes, int64_t least_side) {
  return decode_image({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "x", 1 << 24,
                      least_side);
}

std::vector<uint8_t> square(const RgbImage& image, int64_t side) {
  std::vector<uint8_t> pixels(static_cast<size_t>(side * side * 3));
  resize_and_crop(image, side, side, pixels.data());
  return pixels;
}

struct Difference {
  double mean = 0, most = 0;
};

Difference difference(const std::vector<uint8_t>& a, const std::vector<uint8_t>& b) {
  REQUIRE(a.size() == b.size());
  Difference found;
  for (size_t i = 0; i < a.size(); ++i) {
    const double here = std::abs(a[i] - b[i]);
    found.mean += here / static_cast<double>(a.size());
    found.most = std::max(found.most, here);
  }
  return found;
}

/// What a square of this side looks like from the whole file and from the smallest that may be decoded.
Difference scaling_difference(const std::string& bytes, int64_t side) {
  return difference(square(decode_for(bytes, kFullSize), side), square(decode_for(bytes, side), side));
}

}  // namespace

TEST_CASE("a JPEG comes at the smallest size whose short side is still large enough") {
  struct Case {
    int64_t width, height, least, denominator;
  };
  for (const Case& each :
       {Case{64, 90, 64, 1}, Case{127, 200, 64, 1}, Case{128, 200, 64, 2}, Case{200, 128, 64, 2},
        Case{255, 300, 64, 2}, Case{257, 300, 64, 4}, Case{513, 600, 64, 8}, Case{600, 513, 16, 8},
        Case{513, 600, 600, 1}, Case{513, 600, kFullSize, 1}, Case{1, 600, 1, 1}, Case{3, 5, 1, 2}}) {
    CAPTURE(each.width);
    CAPTURE(each.height);
    CAPTURE(each.least);
    const RgbImage image = decode_for(encode_jpeg(flat(each.width, each.height, 9, 99, 200)), each.least);
    const int64_t denominator = image.scale.denominator;
    CHECK(denominator == each.denominator);
    CHECK(image.width == (each.width + denominator - 1) / denominator);
    CHECK(image.height == (each.height + denominator - 1) / denominator);
    CHECK(image.photo_width() == each.width);
    CHECK(image.photo_height() == each.height);
    CHECK(static_cast<int64_t>(image.pixels.size()) == image.width * image.height * 3);
  }
  CHECK(decode_for(encode_png(flat(300, 200, 1, 2, 3)), 16).width == 300);  // JPEG alone can do it
}

TEST_CASE(
    "smooth pictures of every kind stay what and where they are, also with sides that are no multiple") {
  // 200 levels over the short side: a shift by half a pixel of the 64 that are left would change 1.5 levels.
  // At the border a block's padding bleeds in; elsewhere the transforms round a little differently.
  constexpr double kMean = 0.6, kMost = 3;
  for (const auto& [width, height] : {std::pair{521, 530}, std::pair{530, 521}, std::pair{263, 400},
                                      std::pair{401, 135}, std::pair{1031, 519}}) {
    const RgbImage picture = gradient(width, height);
    const auto check = [&](JpegOptions options) {
      options.horizontal_sampling = options.vertical_sampling = options.colour == Colour::kYcc ? 2 : 1;
      const Difference found = scaling_difference(encode_jpeg(picture, options), 64);
      CAPTURE(width);
      CAPTURE(height);
      CAPTURE(static_cast<int>(options.colour));
      CAPTURE(options.progressive);
      CHECK(found.mean <= kMean);
      CHECK(found.most <= kMost);
    };
    for (const Colour colour : {Colour::kYcc, Colour::kRgb, Colour::kGrey, Colour::kCmyk, Colour::kYcck}) {
      check({.colour = colour});
      check({.colour = colour, .progressive = true});
    }
    for (int orientation = 2; orientation <= 8; ++orientation) {
      CAPTURE(orientation);
      check({.app1 = exif_block(orientation)});
    }
  }
}

TEST_CASE("a damaged file is as unreadable at a fraction of its size") {
  std::string bytes = encode_jpeg(gradient(300, 280));
  CHECK(decode_for(bytes, 64).scale.denominator == 4);
  bytes.resize(bytes.size() / 2);
  CHECK_THROWS(decode_for(bytes, 64));
}

TEST_CASE("real photos change little, and those that are not scaled not at all") {
  const auto data = data_folder();
  if (!data || !std::filesystem::exists(*data / "images")) return skip("needs the data folder");
  const std::string folder = (*data / "images").string();
  struct Bound {
    int64_t resize, crop;
    double average, worst;  ///< of a photo's mean difference, levels
  };
  // Their short sides are 256, so that 128, 64 and 32 are the hardest cases there are: no margin is left for
  // the filter. 90 is of the usual kind. Found: averages 1.35, 1.51, 2.24, 1.03, worst 6.8, 4.6, 8.1, 4.0;
  // the worst photos are of single pixels throughout.
  for (const Bound& bound : {Bound{256, 224, 0, 0}, Bound{128, 112, 1.6, 7}, Bound{64, 56, 1.8, 7},
                             Bound{32, 28, 2.5, 10}, Bound{90, 80, 1.2, 5}}) {
    const ImageOptions scaled{.resize = bound.resize, .crop = bound.crop};
    ImageOptions full = scaled;
    full.scaled_decode = false;
    const auto some = open_images(folder, scaled), all = open_images(folder, full);
    std::vector<uint8_t> a(static_cast<size_t>(bound.crop * bound.crop * 3)), b(a.size());
    double sum = 0, worst = 0;
    int64_t count = 0;
    for (int64_t i = 0; i < some->size(); i += 5, ++count) {
      REQUIRE(some->read_centre(i, a.data()).empty());
      REQUIRE(all->read_centre(i, b.data()).empty());
      const double mean = difference(a, b).mean;
      worst = std::max(worst, mean);
      sum += mean;
    }
    CAPTURE(bound.resize);
    CHECK(sum / static_cast<double>(count) <= bound.average);
    CHECK(worst <= bound.worst);
  }
}
