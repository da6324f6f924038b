#include "loader/image_resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/error.h"

namespace branchsae {
namespace {

/// Weighted source pixels of the output pixels of one axis. All outputs have as many taps as the longest
/// needs, with weights of zero at the ends: loops of one length are predicted, and x + 0 changes no sum.
struct Axis {
  std::vector<int64_t> first;  ///< [outputs] first source pixel
  int64_t taps = 0;
  std::vector<float> weights;  ///< [outputs, taps]

  int64_t outputs() const { return static_cast<int64_t>(first.size()); }
  const float* weights_of(int64_t output) const { return weights.data() + output * taps; }
  int64_t begin() const { return first.front(); }
  int64_t end() const { return first.back() + taps; }
};

/// Normalised weights of one output pixel, zeros at the ends left out.
struct Window {
  int64_t first = 0;
  std::vector<double> weights;
};

Window make_window(double centre, double half_width, int64_t source_size) {
  const auto low = static_cast<int64_t>(std::floor(centre - half_width));
  const auto high = static_cast<int64_t>(std::ceil(centre + half_width));
  const int64_t end = std::min(high, source_size);
  Window window{.first = std::max<int64_t>(low, 0), .weights = {}};
  double sum = 0;
  for (int64_t j = window.first; j < end; ++j) {
    const double distance = std::abs(static_cast<double>(j) + 0.5 - centre) / half_width;
    if (distance < 1.0) {
      window.weights.push_back(1.0 - distance);
      sum += window.weights.back();
    } else if (window.weights.empty()) {
      ++window.first;
    }
  }
  for (double& weight : window.weights) weight /= sum;
  return window;
}

/// One side of an image: of how many of the photo's pixels it was made, and which of them a pixel stands for.
struct Side {
  int64_t photo = 0;
  int64_t pixels = 0;
  int64_t denominator = 1;
  int64_t before = 0;  ///< what the first pixel stands for beside the photo

  int64_t pixel_of(int64_t photo_pixel) const { return (photo_pixel + before) / denominator; }
};

/// A triangle of half-width h has the variance h^2 / 6, the mean over s pixels s^2 / 12: where the image
/// holds such means already, the triangle has to be narrower, by up to h^2 = r^2 - s^2 / 2. A reduced inverse
/// transform blurs less than means do; half of that is nearest to full decoding over all fractions.
double triangle_half_width(double ratio, int64_t denominator) {
  if (denominator == 1) return std::max(1.0, ratio);
  const auto s = static_cast<double>(denominator);
  return std::sqrt(std::max(1.0, ratio * ratio - s * s / 4));
}

/// The window in pixels that stand for several of the photo's each: their weights are added up.
Window folded(const Window& window, const Side& side) {
  if (side.denominator == 1) return window;
  Window sums{.first = side.pixel_of(window.first), .weights = {}};
  const auto taps = static_cast<int64_t>(window.weights.size());
  sums.weights.resize(static_cast<size_t>(side.pixel_of(window.first + taps - 1) - sums.first + 1));
  for (int64_t i = 0; i < taps; ++i) {
    sums.weights[static_cast<size_t>(side.pixel_of(window.first + i) - sums.first)] +=
        window.weights[static_cast<size_t>(i)];
  }
  return sums;
}

int64_t window_start(int64_t places, double draw) {
  const auto place = static_cast<int64_t>(std::ceil(draw * static_cast<double>(places))) - 1;
  return std::clamp<int64_t>(place, 0, places - 1);
}

Axis make_axis(const Side& side, int64_t resized_size, int64_t crop, double draw) {
  const double ratio = static_cast<double>(side.photo) / static_cast<double>(resized_size);
  const double half_width = triangle_half_width(ratio, side.denominator);
  const int64_t crop_start = window_start(resized_size - crop + 1, draw);
  std::vector<Window> windows;
  Axis axis;
  for (int64_t i = 0; i < crop; ++i) {
    const double centre = (static_cast<double>(crop_start + i) + 0.5) * ratio;
    windows.push_back(folded(make_window(centre, half_width, side.photo), side));
    axis.taps = std::max(axis.taps, static_cast<int64_t>(windows.back().weights.size()));
  }
  axis.weights.resize(static_cast<size_t>(crop * axis.taps));
  for (int64_t i = 0; i < crop; ++i) {
    const Window& window = windows[static_cast<size_t>(i)];
    axis.first.push_back(std::min(window.first, side.pixels - axis.taps));
    const int64_t leading = window.first - axis.first.back();
    std::ranges::transform(window.weights, axis.weights.begin() + i * axis.taps + leading,
                           [](double weight) { return static_cast<float>(weight); });
  }
  return axis;
}

constexpr int64_t kChannels = 3;

/// One vector register. A pixel is loaded and stored with its neighbour's first channel, which is overwritten
/// or ignored; rows have room for it behind their last pixel.
using Lanes [[gnu::vector_size(16)]] = float;
constexpr int64_t kLanes = 4;
constexpr int64_t kSpare = kLanes - kChannels;

Lanes load(const float* from) {
  Lanes lanes;
  std::memcpy(&lanes, from, sizeof lanes);
  return lanes;
}

/// One resized row. `source` begins at source pixel axis.begin().
void resize_row(const Axis& axis, const float* source, float* out) {
  const float* weight = axis.weights.data();
  for (int64_t i = 0; i < axis.outputs(); ++i, out += kChannels) {
    const float* pixel = source + kChannels * (axis.first[static_cast<size_t>(i)] - axis.begin());
    Lanes sum{};
    for (int64_t tap = 0; tap < axis.taps; ++tap, ++weight, pixel += kChannels) sum += *weight * load(pixel);
    std::memcpy(out, &sum, sizeof sum);
  }
}

void add_weighted(float weight, const float* row, int64_t count, float* sums) {
  for (int64_t i = 0; i < count; ++i) sums[i] += weight * row[i];
}

uint8_t to_8_bit(float value) {
  return static_cast<uint8_t>(static_cast<int>(std::clamp(value + 0.5F, 0.0F, 255.0F)));
}

}  // namespace

void resize_and_crop(const RgbImage& image, int64_t resize, int64_t crop, uint8_t* dst,
                     const CropDraw& draw) {
  if (crop < 1 || crop > resize) {
    throw InputError("crop " + std::to_string(crop) + " is not within 1 .. resize " + std::to_string(resize));
  }
  const int64_t width = image.photo_width(), height = image.photo_height();
  const int64_t short_side = std::min(width, height);
  if (short_side < 1) throw InputError("has no pixels");
  const PixelScale& scale = image.scale;
  const Side across{.photo = width,
                    .pixels = image.width,
                    .denominator = scale.denominator,
                    .before = scale.spare_first_column ? scale.spare_columns : 0};
  const Side down{.photo = height,
                  .pixels = image.height,
                  .denominator = scale.denominator,
                  .before = scale.spare_first_row ? scale.spare_rows : 0};
  const Axis columns = make_axis(across, resize * width / short_side, crop, draw.x);
  const Axis rows = make_axis(down, resize * height / short_side, crop, draw.y);

  const int64_t source_columns = columns.end() - columns.begin();
  const int64_t row_floats = kChannels * crop;
  std::vector<float> source_row(static_cast<size_t>(kChannels * source_columns + kSpare));
  std::vector<float> sums(static_cast<size_t>(row_floats));
  // The last source rows, each resized once: as many as an output row is made of.
  std::vector<std::vector<float>> ring(static_cast<size_t>(rows.taps),
                                       std::vector<float>(static_cast<size_t>(row_floats + kSpare)));
  const auto ring_row = [&](int64_t y) { return ring[static_cast<size_t>(y % rows.taps)].data(); };

  int64_t output = 0;
  for (int64_t y = rows.begin(); y < rows.end(); ++y) {
    const uint8_t* source = image.pixels.data() + (y * image.width + columns.begin()) * kChannels;
    std::copy_n(source, kChannels * source_columns, source_row.begin());
    resize_row(columns, source_row.data(), ring_row(y));
    for (; output < crop && rows.first[static_cast<size_t>(output)] + rows.taps - 1 == y; ++output) {
      std::ranges::fill(sums, 0.0F);
      const int64_t first = rows.first[static_cast<size_t>(output)];
      for (int64_t tap = 0; tap < rows.taps; ++tap) {
        add_weighted(rows.weights_of(output)[tap], ring_row(first + tap), row_floats, sums.data());
      }
      std::ranges::transform(sums, dst + output * row_floats, to_8_bit);
    }
  }
  if (draw.flip) mirror_rows(crop, crop, kChannels, dst);
}

}  // namespace branchsae
