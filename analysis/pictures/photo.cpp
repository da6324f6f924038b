#include "analysis/pictures/photo.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/error.h"

namespace branchsae {
namespace {

using Colour = std::array<double, 3>;

/// Of 0..1: dark where there is little, bright where there is much, also for who sees no red or green.
Colour heat_colour(double t) {
  static constexpr std::array<Colour, 5> kStops{
      {{0, 0, 4}, {87, 16, 110}, {188, 55, 84}, {249, 142, 9}, {252, 255, 164}}};
  const double place = std::clamp(t, 0.0, 1.0) * (kStops.size() - 1);
  const auto low = std::min(static_cast<size_t>(place), kStops.size() - 2);
  const double part = place - static_cast<double>(low);
  Colour colour{};
  for (size_t c = 0; c < 3; ++c) colour[c] = (1 - part) * kStops[low][c] + part * kStops[low + 1][c];
  return colour;
}

/// Where a pixel lies between the cells of one axis, centres on centres.
struct Between {
  int64_t low = 0, high = 0;
  double part = 0;  ///< of `high`
};

Between between(int64_t pixel, int64_t pixels, int64_t cells) {
  const double at =
      (static_cast<double>(pixel) + 0.5) * static_cast<double>(cells) / static_cast<double>(pixels) - 0.5;
  const double inside = std::clamp(at, 0.0, static_cast<double>(cells - 1));
  const auto low = static_cast<int64_t>(inside);
  return {low, std::min(low + 1, cells - 1), inside - static_cast<double>(low)};
}

template <class Value>
double interpolate(const Between& y, const Between& x, const Value& value) {
  const double above = (1 - x.part) * value(y.low, x.low) + x.part * value(y.low, x.high);
  const double below = (1 - x.part) * value(y.high, x.low) + x.part * value(y.high, x.high);
  return (1 - y.part) * above + y.part * below;
}

uint8_t rounded(double value) {
  return static_cast<uint8_t>(std::lround(std::clamp(value, 0.0, 255.0)));
}

size_t offset(const RgbImage& image, int64_t y, int64_t x) {
  return static_cast<size_t>((y * image.width + x) * 3);
}

}  // namespace

RgbImage blank_image(int64_t width, int64_t height, uint8_t grey) {
  return {width, height, std::vector<uint8_t>(static_cast<size_t>(width * height * 3), grey)};
}

RgbImage photo(const ImageSource& images, int64_t index) {
  if (images.format() != PixelFormat::kU8Rgb)
    throw InputError("images that are preprocessed already cannot be shown; give photos");
  RgbImage image = blank_image(images.width(), images.height(), 0);
  if (const std::string reason = images.read_centre(index, image.pixels.data()); !reason.empty())
    throw InputError(fmt::format("{}: {}", images.info(index).name, reason));
  return image;
}

PixelBox box_around(int64_t position, std::array<int64_t, 2> grid, int64_t side, int64_t image_height,
                    int64_t image_width) {
  const auto along = [side](int64_t cell, int64_t cells, int64_t pixels, int64_t& begin, int64_t& size) {
    size = std::min(side, pixels);
    const int64_t centre = (2 * cell + 1) * pixels / (2 * cells);
    begin = std::clamp<int64_t>(centre - size / 2, 0, pixels - size);
  };
  PixelBox box;
  along(position / grid[1], grid[0], image_height, box.top, box.height);
  along(position % grid[1], grid[1], image_width, box.left, box.width);
  return box;
}

RgbImage crop(const RgbImage& image, const PixelBox& box) {
  RgbImage part = blank_image(box.width, box.height, 0);
  for (int64_t y = 0; y < box.height; ++y) {
    std::copy_n(image.pixels.begin() + static_cast<std::ptrdiff_t>(offset(image, box.top + y, box.left)),
                box.width * 3, part.pixels.begin() + static_cast<std::ptrdiff_t>(offset(part, y, 0)));
  }
  return part;
}

RgbImage heat_over(const RgbImage& photo, std::span<const float> z, std::array<int64_t, 2> grid, float most) {
  if (static_cast<int64_t>(z.size()) != grid[0] * grid[1])
    throw ShapeError(fmt::format("{} values for a grid of {} x {}", z.size(), grid[0], grid[1]));
  RgbImage heat = photo;
  for (int64_t y = 0; y < photo.height; ++y) {
    const Between row = between(y, photo.height, grid[0]);
    for (int64_t x = 0; x < photo.width; ++x) {
      const double value = interpolate(row, between(x, photo.width, grid[1]), [&](int64_t gy, int64_t gx) {
        return static_cast<double>(z[static_cast<size_t>(gy * grid[1] + gx)]);
      });
      const double t = most > 0 ? std::clamp(value / static_cast<double>(most), 0.0, 1.0) : 0;
      uint8_t* pixel = heat.pixels.data() + offset(heat, y, x);
      const double grey = 0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2];
      const double cover = 0.85 * std::sqrt(t);  // faint activity still shows
      const Colour colour = heat_colour(0.25 + 0.75 * t);
      for (size_t c = 0; c < 3; ++c) pixel[c] = rounded((1 - cover) * 0.7 * grey + cover * colour[c]);
    }
  }
  return heat;
}

RgbImage resized(const RgbImage& image, int64_t width, int64_t height) {
  RgbImage out = blank_image(width, height, 0);
  for (int64_t y = 0; y < height; ++y) {
    const Between row = between(y, height, image.height);
    for (int64_t x = 0; x < width; ++x) {
      const Between column = between(x, width, image.width);
      for (size_t c = 0; c < 3; ++c) {
        out.pixels[offset(out, y, x) + c] =
            rounded(interpolate(row, column, [&](int64_t iy, int64_t ix) -> double {
              return image.pixels[offset(image, iy, ix) + c];
            }));
      }
    }
  }
  return out;
}

void paste(RgbImage& canvas, const RgbImage& part, int64_t left, int64_t top) {
  const int64_t first = std::max<int64_t>(0, -left), last = std::min(part.width, canvas.width - left);
  if (first >= last) return;
  for (int64_t y = std::max<int64_t>(0, -top); y < std::min(part.height, canvas.height - top); ++y) {
    std::copy_n(part.pixels.begin() + static_cast<std::ptrdiff_t>(offset(part, y, first)), (last - first) * 3,
                canvas.pixels.begin() + static_cast<std::ptrdiff_t>(offset(canvas, top + y, left + first)));
  }
}

}  // namespace branchsae
