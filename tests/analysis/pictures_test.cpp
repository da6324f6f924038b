#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "analysis/features/contact_sheet.h"
#include "analysis/features/receptive_field.h"
#include "analysis/pictures/draw_text.h"
#include "analysis/pictures/photo.h"
#include "engine/error.h"
#include "loader/image_write.h"
#include "loader/onnx_loader.h"
#include "loader/synthetic.h"
#include "tests/test_data.h"

using namespace branchsae;

namespace {

RgbImage ramp(int64_t width, int64_t height) {
  RgbImage image = blank_image(width, height, 0);
  for (int64_t i = 0; i < width * height; ++i) {
    image.pixels[static_cast<size_t>(3 * i)] = static_cast<uint8_t>(i % width * 255 / width);
    image.pixels[static_cast<size_t>(3 * i + 1)] = static_cast<uint8_t>(i / width * 255 / height);
  }
  return image;
}

std::array<int, 3> pixel(const RgbImage& image, int64_t y, int64_t x) {
  const auto at = static_cast<size_t>((y * image.width + x) * 3);
  return {image.pixels[at], image.pixels[at + 1], image.pixels[at + 2]};
}

int brightness(const RgbImage& image, int64_t y, int64_t x) {
  const auto [r, g, b] = pixel(image, y, x);
  return r + g + b;
}

}  // namespace

TEST_CASE("jpeg: what is written is read again") {
  const RgbImage image = ramp(67, 45);
  const std::string bytes = encode_jpeg(image, 95);
  const RgbImage back =
      decode_image({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "x.jpg", 1 << 20);
  REQUIRE(back.width == 67);
  REQUIRE(back.height == 45);
  double error = 0;
  for (size_t i = 0; i < image.pixels.size(); ++i)
    error += std::abs(static_cast<double>(image.pixels[i]) - static_cast<double>(back.pixels[i]));
  CHECK(error / static_cast<double>(image.pixels.size()) < 2);  // of 255: quantisation at quality 95
  CHECK(encode_jpeg(image, 95) == bytes);
  CHECK_THROWS_AS(encode_jpeg({}), InputError);
  RgbImage cut = image;
  cut.pixels.pop_back();
  CHECK_THROWS_AS(encode_jpeg(cut), InputError);
}

TEST_CASE("boxes: around pixel 16 i + 8 of a 14 x 14 grid, moved inside the image") {
  const auto box = [](int64_t y, int64_t x, int64_t side) {
    return box_around(y * 14 + x, {14, 14}, side, 224, 224);
  };
  CHECK(box(7, 5, 100).top == 16 * 7 + 8 - 50);
  CHECK(box(7, 5, 100).left == 16 * 5 + 8 - 50);
  CHECK(box(0, 13, 100).top == 0);
  CHECK(box(0, 13, 100).left == 124);
  CHECK(box(3, 3, 1000).width == 224);
  CHECK(box_around(0, {1, 1}, 20, 100, 50).left == 15);
  const RgbImage part = crop(ramp(100, 100), {10, 20, 5, 4});
  CHECK(part.width == 5);
  CHECK(pixel(part, 1, 2) == pixel(ramp(100, 100), 21, 12));
}

TEST_CASE("heat: brightest where the latent fires most, the photo in grey where it does not") {
  const RgbImage photo = blank_image(64, 64, 100);
  std::vector<float> z(16);
  z[6] = 2;  // row 1, column 2 of a 4 x 4 grid: pixel 24, 40
  const RgbImage heat = heat_over(photo, z, {4, 4}, 2);
  int brightest = 0, bright_y = 0, bright_x = 0;
  for (int y = 0; y < 64; ++y) {
    for (int x = 0; x < 64; ++x) {
      if (brightness(heat, y, x) > brightest) {
        brightest = brightness(heat, y, x);
        bright_y = y;
        bright_x = x;
      }
    }
  }
  CHECK(std::abs(bright_y - 24) <= 1);
  CHECK(std::abs(bright_x - 40) <= 1);
  CHECK(pixel(heat, 60, 5) == std::array<int, 3>{70, 70, 70});
  CHECK_THROWS_AS(heat_over(photo, z, {4, 5}, 2), ShapeError);
}

TEST_CASE("drawing: text leaves ink inside the picture only; pictures are pasted where they fit") {
  RgbImage image = blank_image(40, 14, 255);
  draw_text(image, 2, 2, "Hp\xC3\xA9", 0);
  CHECK(std::ranges::count(image.pixels, 0) > 30);
  draw_text(image, 35, 10, "far too long for the little room that is left", 0);
  CHECK(text_width(fit_text("far too long for the little room", 60)) <= 60);
  CHECK(fit_text("short", 60) == "short");
  paste(image, blank_image(10, 10, 7), -5, -5);
  CHECK(pixel(image, 4, 4) == std::array<int, 3>{7, 7, 7});
  CHECK(pixel(image, 5, 6) != std::array<int, 3>{7, 7, 7});
  CHECK(resized(blank_image(3, 5, 9), 8, 2).pixels == blank_image(8, 2, 9).pixels);
}

TEST_CASE("contact sheet: as wide as its longest row") {
  ContactSheet sheet;
  sheet.heading = {"a heading"};
  sheet.row_titles = {"one", "two"};
  sheet.rows.resize(2);
  for (int i = 0; i < 7; ++i) sheet.rows[0].push_back({ramp(20, 20), ramp(30, 30), "caption"});
  const RgbImage seven = draw_sheet(sheet);
  sheet.rows[0].push_back({ramp(20, 20), ramp(30, 30), "caption"});
  CHECK(draw_sheet(sheet).width > seven.width);
  CHECK(draw_sheet(sheet).height == seven.height);
  CHECK(draw_sheet({}).width > 0);
}

TEST_CASE("receptive field: counted by hand for InceptionV1") {
  const auto path = test::temporary_folder() / "model.onnx";
  write_synthetic_inception(path, {.seed = 1, .width_divisor = 8});
  const Graph graph = load_onnx(path.string());
  const auto side = [&](const char* tap) { return receptive_field(graph, resolve_tap(graph, tap))[0]; };
  // conv 7/2, pool 3/2, 3x3, pool 3/2; 3a and 3b at most 5x5 with 8 pixels a step; pool 3/2; 4a, 4b 5x5
  // at 16.
  const int64_t before_4c = 7 + 2 * 2 + 2 * 4 + 2 * 4 + 4 * 8 + 4 * 8 + 2 * 8 + 4 * 16 + 4 * 16;
  CHECK(side("mixed4c.1x1") == before_4c);
  CHECK(side("mixed4c.5x5") == before_4c + 4 * 16);
  CHECK(side("mixed4c") == before_4c + 4 * 16);
  CHECK(side("mixed4a+mixed4c.1x1") == before_4c);
}
