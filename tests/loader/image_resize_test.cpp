#include <doctest/doctest.h>

#include <cmath>
#include <random>

#include "engine/error.h"
#include "loader/image_resize.h"
#include "tests/loader/image_files.h"

using namespace branchsae;

namespace {

RgbImage noise(int64_t width, int64_t height) {
  RgbImage image{.width = width, .height = height};
  std::mt19937 random(static_cast<unsigned>(width * 1000 + height));
  for (int64_t i = 0; i < width * height * 3; ++i)
    image.pixels.push_back(static_cast<uint8_t>(random() & 255));
  return image;
}

/// The header's definition word for word, in double, one output sample at a time.
double reference_sample(const RgbImage& image, int64_t resize, int64_t crop, int64_t y, int64_t x,
                        int64_t c) {
  const int64_t short_side = std::min(image.width, image.height);
  const auto weight = [&](int64_t size, int64_t output, int64_t pixel) {
    const int64_t resized = resize * size / short_side;
    const double ratio = static_cast<double>(size) / static_cast<double>(resized);
    const double centre = (static_cast<double>((resized - crop) / 2 + output) + 0.5) * ratio;
    const double distance = std::abs(static_cast<double>(pixel) + 0.5 - centre) / std::max(1.0, ratio);
    return std::max(0.0, 1.0 - distance);
  };
  double sum = 0, weights = 0;
  for (int64_t v = 0; v < image.height; ++v) {
    const double vertical = weight(image.height, y, v);
    if (vertical == 0) continue;
    for (int64_t u = 0; u < image.width; ++u) {
      const double both = vertical * weight(image.width, x, u);
      sum += both * image.pixels[static_cast<size_t>((v * image.width + u) * 3 + c)];
      weights += both;
    }
  }
  return sum / weights;
}

}  // namespace

TEST_CASE("resizing follows its definition for photos of all proportions") {
  struct Case {
    int64_t width, height, resize, crop;
  };
  for (const Case& each :
       {Case{50, 37, 32, 28}, Case{37, 50, 32, 28}, Case{9, 7, 32, 28}, Case{7, 9, 32, 31},
        Case{200, 33, 32, 32}, Case{33, 200, 16, 7}, Case{1, 1, 16, 14}, Case{1, 40, 16, 14},
        Case{131, 131, 10, 9}, Case{32, 32, 32, 32}, Case{33, 33, 32, 1}}) {
    const RgbImage image = noise(each.width, each.height);
    std::vector<uint8_t> out(static_cast<size_t>(each.crop * each.crop * 3));
    resize_and_crop(image, each.resize, each.crop, out.data());
    double worst = 0;
    for (int64_t i = 0; i < each.crop * each.crop * 3; ++i) {
      const double expected =
          reference_sample(image, each.resize, each.crop, i / 3 / each.crop, i / 3 % each.crop, i % 3);
      worst = std::max(worst, std::abs(out[static_cast<size_t>(i)] - expected));
    }
    CAPTURE(each.width);
    CAPTURE(each.height);
    // Half a level for the rounding; float sums of at most some dozen terms below 256 are good to 1e-3.
    CHECK(worst <= 0.501);
  }
}

TEST_CASE("a flat picture stays flat and a picture of the right size stays the same") {
  std::vector<uint8_t> out(28 * 28 * 3);
  for (const auto& [width, height] : {std::pair{5, 900}, std::pair{61, 64}, std::pair{300, 301}}) {
    resize_and_crop(test::flat(width, height, 1, 128, 255), 32, 28, out.data());
    for (size_t i = 0; i < out.size(); i += 3) {
      REQUIRE(out[i] == 1);
      REQUIRE(out[i + 1] == 128);
      REQUIRE(out[i + 2] == 255);
    }
  }
  const RgbImage image = noise(28, 28);
  resize_and_crop(image, 28, 28, out.data());
  CHECK(out == image.pixels);
}

TEST_CASE("extreme proportions cost no more than the crop needs") {
  // 1 x 60,000 would be 256 x 15 million pixels if it were resized before the crop.
  std::vector<uint8_t> out(224 * 224 * 3);
  resize_and_crop(test::flat(1, 60000, 9, 8, 7), 256, 224, out.data());
  CHECK(out[0] == 9);
  CHECK(out.back() == 7);
}

TEST_CASE("a crop that does not fit is refused") {
  const RgbImage image = noise(4, 4);
  uint8_t out[3];
  CHECK_THROWS_AS(resize_and_crop(image, 4, 5, out), InputError);
  CHECK_THROWS_AS(resize_and_crop(image, 4, 0, out), InputError);
  CHECK_THROWS_AS(resize_and_crop(RgbImage{}, 4, 1, out), InputError);
}

TEST_CASE("a draw chooses the window and mirrors it") {
  const RgbImage image = noise(50, 37);
  const auto cut = [&](const CropDraw& draw, int64_t crop) {
    std::vector<uint8_t> out(static_cast<size_t>(crop * crop * 3));
    resize_and_crop(image, 32, crop, out.data(), draw);
    return out;
  };
  // The whole height; of the 43 columns those that the window leaves are cut off.
  const std::vector<uint8_t> left = cut({.x = 0, .y = 0}, 32), right = cut({.x = 1, .y = 1}, 32);
  const auto column = [](const std::vector<uint8_t>& pixels, int64_t y, int64_t x) {
    return std::vector<uint8_t>(pixels.begin() + (y * 32 + x) * 3, pixels.begin() + (y * 32 + x) * 3 + 3);
  };
  for (int64_t y = 0; y < 32; ++y) CHECK(column(left, y, 11) == column(right, y, 0));
  CHECK(cut({}, 28) == cut({.x = 0.5, .y = 0.5}, 28));
  CHECK(cut({.x = 0.9}, 28) != cut({}, 28));
  CHECK(cut({.y = 0.9}, 28) != cut({}, 28));

  std::vector<uint8_t> mirrored = cut({.x = 0.3, .y = 0.6, .flip = true}, 27);
  const std::vector<uint8_t> plain = cut({.x = 0.3, .y = 0.6}, 27);
  CHECK(mirrored != plain);
  mirror_rows(27, 27, 3, mirrored.data());
  CHECK(mirrored == plain);
}

TEST_CASE("uniform draws take every window equally often, and the middle one is the centre crop") {
  // Rows are told apart by their level; 12 places.
  RgbImage image{.width = 27, .height = 27};
  for (int64_t i = 0; i < 27 * 27 * 3; ++i) image.pixels.push_back(static_cast<uint8_t>(i / 81 * 9));
  std::vector<int> taken(12, 0);
  std::vector<uint8_t> out(16 * 16 * 3);
  for (int i = 0; i < 1200; ++i) {
    resize_and_crop(image, 27, 16, out.data(), {.x = 0.5, .y = i / 1200.0});
    ++taken.at(out[0] / 9);
  }
  for (const int count : taken) CHECK(std::abs(count - 100) <= 1);
  resize_and_crop(image, 27, 16, out.data());
  CHECK(out[0] / 9 == (27 - 16) / 2);
}
