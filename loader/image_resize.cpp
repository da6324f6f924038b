#include "loader/image_resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/error.h"

namespace branchsae {
namespace {

/// Weighted source pixels of the output pixels of one axis, those of output i beginning at offset[i].
struct Axis {
  std::vector<int64_t> first;   ///< [outputs] first source pixel
  std::vector<int64_t> offset;  ///< [outputs + 1] into weights
  std::vector<float> weights;

  int64_t begin() const { return first.front(); }
  int64_t end() const { return first.back() + offset.back() - offset[offset.size() - 2]; }
};

Axis make_axis(int64_t source_size, int64_t resized_size, int64_t crop) {
  const double ratio = static_cast<double>(source_size) / static_cast<double>(resized_size);
  const double half_width = std::max(1.0, ratio);
  const int64_t crop_start = (resized_size - crop) / 2;
  Axis axis;
  std::vector<double> weights;
  for (int64_t i = 0; i < crop; ++i) {
    const double centre = (static_cast<double>(crop_start + i) + 0.5) * ratio;
    const auto low = static_cast<int64_t>(std::floor(centre - half_width));
    const auto high = static_cast<int64_t>(std::ceil(centre + half_width));
    const int64_t end = std::min(high, source_size);
    int64_t begin = std::max<int64_t>(low, 0);
    weights.clear();
    double sum = 0;
    for (int64_t j = begin; j < end; ++j) {
      const double distance = std::abs(static_cast<double>(j) + 0.5 - centre) / half_width;
      if (distance >= 1.0 && weights.empty()) ++begin;
      if (distance < 1.0) weights.push_back(1.0 - distance);
      if (distance < 1.0) sum += weights.back();
    }
    axis.first.push_back(begin);
    axis.offset.push_back(static_cast<int64_t>(axis.weights.size()));
    for (const double weight : weights) axis.weights.push_back(static_cast<float>(weight / sum));
  }
  axis.offset.push_back(static_cast<int64_t>(axis.weights.size()));
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
  const auto outputs = static_cast<int64_t>(axis.first.size());
  for (int64_t i = 0; i < outputs; ++i, out += kChannels) {
    const float* pixel = source + kChannels * (axis.first[static_cast<size_t>(i)] - axis.begin());
    const float* weight = axis.weights.data() + axis.offset[static_cast<size_t>(i)];
    const float* weights_end = axis.weights.data() + axis.offset[static_cast<size_t>(i) + 1];
    Lanes sum{};
    for (; weight != weights_end; ++weight, pixel += kChannels) sum += *weight * load(pixel);
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

void resize_and_crop(const RgbImage& image, int64_t resize, int64_t crop, uint8_t* dst) {
  if (crop < 1 || crop > resize) {
    throw InputError("crop " + std::to_string(crop) + " is not within 1 .. resize " + std::to_string(resize));
  }
  const int64_t short_side = std::min(image.width, image.height);
  const Axis columns = make_axis(image.width, resize * image.width / short_side, crop);
  const Axis rows = make_axis(image.height, resize * image.height / short_side, crop);

  const int64_t source_columns = columns.end() - columns.begin();
  const int64_t row_floats = kChannels * crop;
  std::vector<float> source_row(static_cast<size_t>(kChannels * source_columns + kSpare));
  std::vector<float> resized_row(static_cast<size_t>(row_floats + kSpare));
  std::vector<float> sums(static_cast<size_t>(row_floats * crop));

  // Each source row is resized once and added to all output rows it is part of; `active` is the first of
  // them.
  int64_t active = 0;
  for (int64_t y = rows.begin(); y < rows.end(); ++y) {
    const uint8_t* source = image.pixels.data() + (y * image.width + columns.begin()) * kChannels;
    std::copy_n(source, kChannels * source_columns, source_row.begin());
    resize_row(columns, source_row.data(), resized_row.data());
    for (int64_t i = active; i < crop && rows.first[static_cast<size_t>(i)] <= y; ++i) {
      const int64_t tap = y - rows.first[static_cast<size_t>(i)];
      const int64_t at = rows.offset[static_cast<size_t>(i)] + tap;
      if (at >= rows.offset[static_cast<size_t>(i) + 1]) {
        active = i + 1;
        continue;
      }
      add_weighted(rows.weights[static_cast<size_t>(at)], resized_row.data(), row_floats,
                   sums.data() + i * row_floats);
    }
  }
  std::transform(sums.begin(), sums.end(), dst, to_8_bit);
}

}  // namespace branchsae
