#include "analysis/features/image_scores.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/error.h"
#include "engine/parallel.h"

namespace branchsae {

int ValueHistogram::bin(float value) {
  const auto half_octaves = static_cast<int>(std::floor(2 * std::log2(value)));
  return std::clamp(half_octaves - kFirstExponent2, 0, kBins - 1);
}

double ValueHistogram::lower_edge(int bin) {
  return std::exp2((bin + kFirstExponent2) / 2.0);
}

std::vector<ImageScore> LatentActivity::top(size_t count) const {
  std::vector<ImageScore> best(std::min(count, images.size()));
  std::ranges::partial_sort_copy(images, best, [](const ImageScore& a, const ImageScore& b) {
    return a.max != b.max ? a.max > b.max : a.image < b.image;
  });
  return best;
}

ImageScores::ImageScores(int64_t latents, int64_t positions) : positions_(positions) {
  if (latents < 1 || positions < 1)
    throw InputError(
        fmt::format("scores of {} latents at {} positions: both must be at least 1", latents, positions));
  activity_.resize(static_cast<size_t>(latents));
  running_.resize(static_cast<size_t>(latents));
}

ImageScores::ImageScores(int64_t positions, std::vector<std::vector<int32_t>> listed)
    : ImageScores(static_cast<int64_t>(listed.size()), positions) {
  listed_ = std::move(listed);
}

bool ImageScores::is_listed(int32_t latent, int32_t image) const {
  return listed_.empty() || std::ranges::binary_search(listed_[static_cast<size_t>(latent)], image);
}

void ImageScores::add(int32_t image, View<const float, 2> values, View<const int32_t, 2> indices) {
  const int64_t number = image;
  add({&number, 1}, values, indices, 1);
}

void ImageScores::add(std::span<const int64_t> images, View<const float, 2> values,
                      View<const int32_t, 2> indices, int threads) {
  check(images, values, indices);
  const int64_t parts = std::clamp<int64_t>(threads, 1, latents());
  on_threads(threads, parts, [&](int64_t part) {
    const Range range{latents() * part / parts, latents() * (part + 1) / parts};
    std::vector<int32_t> touched;
    for (size_t i = 0; i < images.size(); ++i) {
      const int64_t first = static_cast<int64_t>(i) * positions_;
      add_image(images[i], values.rows(first, positions_), indices.rows(first, positions_), range, touched);
    }
  });
  images_ += std::ssize(images);
  if (!images.empty()) last_image_ = images.back();
}

void ImageScores::check(std::span<const int64_t> images, View<const float, 2> values,
                        View<const int32_t, 2> indices) {
  if (values.shape != indices.shape || values.shape[0] != std::ssize(images) * positions_) {
    throw ShapeError(fmt::format("codes of {} images: values {} x {}, indices {} x {}, {} positions wanted",
                                 images.size(), values.shape[0], values.shape[1], indices.shape[0],
                                 indices.shape[1], positions_));
  }
  int64_t last = last_image_;
  for (const int64_t image : images) {
    if (image <= last)
      throw InputError(fmt::format("image {} comes after image {}: ascending order is needed", image, last));
    last = image;
  }
}

void ImageScores::add_image(int64_t image, View<const float, 2> values, View<const int32_t, 2> indices,
                            Range range, std::vector<int32_t>& touched) {
  const bool is_last = range.end == latents();
  for (int64_t p = 0; p < positions_; ++p) {
    for (int64_t i = 0; i < values.shape[1]; ++i) {
      const int32_t latent = indices(p, i);
      if (latent < range.begin || (latent >= range.end && !is_last)) continue;
      if (latent >= range.end)
        throw InputError(fmt::format("code of latent {}: there are {} only", latent, latents()));
      const float value = values(p, i);
      if (value > 0) add_value(latent, static_cast<int32_t>(p), value, touched);
    }
  }
  for (const int32_t latent : touched) {
    Running& running = running_[static_cast<size_t>(latent)];
    if (is_listed(latent, static_cast<int32_t>(image))) {
      activity_[static_cast<size_t>(latent)].images.push_back(
          {static_cast<int32_t>(image), running.max,
           static_cast<float>(running.sum / static_cast<double>(positions_)), running.position});
    }
    running = {};
  }
  touched.clear();
}

void ImageScores::add_value(int32_t latent, int32_t position, float value, std::vector<int32_t>& touched) {
  Running& running = running_[static_cast<size_t>(latent)];
  if (running.max == 0) touched.push_back(latent);
  if (value > running.max) {
    running.max = value;
    running.position = position;
  }
  running.sum += static_cast<double>(value);
  LatentActivity& activity = activity_[static_cast<size_t>(latent)];
  ++activity.tokens_fired;
  activity.sum += static_cast<double>(value);
  ++activity.histogram.counts[static_cast<size_t>(ValueHistogram::bin(value))];
}

int64_t ImageScores::memory_bytes() const {
  size_t bytes = activity_.size() * sizeof(LatentActivity) + running_.size() * sizeof(Running);
  for (const LatentActivity& activity : activity_) bytes += activity.images.capacity() * sizeof(ImageScore);
  for (const auto& images : listed_) bytes += sizeof(images) + images.capacity() * sizeof(int32_t);
  return static_cast<int64_t>(bytes);
}

}  // namespace branchsae
