#include "model/image_tokens.h"

#include <algorithm>
#include <cstring>

#include "engine/parallel.h"
#include "model/token_sample.h"

namespace branchsae::model {
namespace {

constexpr auto kFloatBytes = static_cast<int64_t>(sizeof(float));

}  // namespace

ImageTokens::ImageTokens(const Device& device, ImageForward& forward, const Options& options)
    : device_(device), forward_(forward), options_(options) {
  int64_t floats = 0, largest = 0;
  for (size_t tap = 0; tap < forward.taps().size(); ++tap) {
    taps_.push_back({forward.positions(tap), forward.taps()[tap].width()});
    const int64_t size = forward.batch() * taps_[tap].positions * taps_[tap].width;
    offsets_.push_back(floats);
    floats += size;
    largest = std::max(largest, size);
    norms_size_ += taps_[tap].positions;
  }
  if (!uses_host()) return;
  Backend& backend = device_.backend();
  ring_ = std::make_unique<UploadRing>(backend, floats * kFloatBytes, true, "tokens of a batch");
  if (!backend.is_host()) packed_ = backend.buffer<float>(largest, "tokens on their way to the host");
  if (options_.norms) norms_.resize(static_cast<size_t>(forward.batch() * norms_size_));
}

View<const float, 2> ImageTokens::tokens(size_t tap, int64_t place, int64_t count) const {
  if (sent_ == nullptr) return forward_.tokens(tap, place, count);
  const auto [positions, width] = taps_[tap];
  return {sent_ + offsets_[tap] + place * positions * width, {count * positions, width}};
}

std::span<const float> ImageTokens::norms(int64_t place) const {
  return {norms_.data() + place * norms_size_, static_cast<size_t>(norms_size_)};
}

float* ImageTokens::host_tokens(size_t tap, int64_t place) const {
  return group_ + offsets_[tap] + place * taps_[tap].positions * taps_[tap].width;
}

void ImageTokens::prefetch(const std::vector<int64_t>& images, int64_t epoch) {
  std::vector<int64_t> missing;
  for (const int64_t image : images) {
    if (options_.disk != nullptr && options_.disk->holds(image)) {
      options_.disk->expect(image);
    } else {
      missing.push_back(image);
    }
  }
  forward_.prefetch(missing, epoch);
}

bool ImageTokens::run(Stream& stream, const std::vector<int64_t>& images,
                      const ImageReader::OnUnreadable& on_unreadable, const Visit& visit, int64_t epoch) {
  if (options_.disk == nullptr) return run_network(stream, images, on_unreadable, visit, epoch);
  std::vector<int64_t> kept, missing;
  for (const int64_t image : images) (options_.disk->holds(image) ? kept : missing).push_back(image);
  return run_disk(stream, kept, missing, visit) &&
         (missing.empty() || run_network(stream, missing, on_unreadable, visit, epoch));
}

/// What the disk has is checked before, so that one bad record does not split the batches.
bool ImageTokens::run_in_order(Stream& stream, const std::vector<int64_t>& images,
                               const ImageReader::OnUnreadable& on_unreadable, const Visit& visit) {
  if (!reads_all(images)) return run_network(stream, images, on_unreadable, visit, ImageForward::kCentre);
  std::vector<int64_t> failed;
  if (!run_disk(stream, images, failed, visit)) return false;
  return failed.empty() || run_network(stream, failed, on_unreadable, visit, ImageForward::kCentre);
}

bool ImageTokens::reads_all(const std::vector<int64_t>& images) {
  if (options_.disk == nullptr) return false;
  if (!std::ranges::all_of(images, [&](int64_t image) { return options_.disk->holds(image); })) return false;
  std::vector<int64_t> failed;
  for (const std::span<const int64_t> group : groups(images)) read_group(group, failed);
  return failed.empty();
}

/// The images in batches.
std::vector<std::span<const int64_t>> ImageTokens::groups(const std::vector<int64_t>& images) const {
  const auto batch = static_cast<size_t>(forward_.batch());
  std::vector<std::span<const int64_t>> found;
  for (size_t begin = 0; begin < images.size(); begin += batch) {
    found.emplace_back(images.data() + begin, std::min(batch, images.size() - begin));
  }
  return found;
}

bool ImageTokens::run_network(Stream& stream, const std::vector<int64_t>& images,
                              const ImageReader::OnUnreadable& on_unreadable, const Visit& visit,
                              int64_t epoch) {
  return forward_.run(
      stream, images, on_unreadable,
      [&](const std::vector<int64_t>& batch) {
        sent_ = nullptr;
        if (uses_host()) take_batch(stream, batch);
        return visit(batch);
      },
      epoch);
}

/// The batch that the network has just run: to the host and, where it is kept, to the disk.
void ImageTokens::take_batch(Stream& stream, const std::vector<int64_t>& images) {
  const auto count = static_cast<int64_t>(images.size());
  group_ = static_cast<float*>(ring_->stage());
  fetch_sync(stream, count);
  if (options_.disk != nullptr) {
    std::vector<const float*> tokens(taps_.size());
    for (int64_t i = 0; i < count; ++i) {
      for (size_t tap = 0; tap < taps_.size(); ++tap) tokens[tap] = host_tokens(tap, i);
      options_.disk->store(images[static_cast<size_t>(i)], tokens);
    }
    if (options_.disk->precision() != CachePrecision::kF32) {
      round_group(count);
      send(stream);
    }
  }
  if (options_.norms) measure_norms(count);
}

void ImageTokens::fetch_sync(Stream& stream, int64_t count) {
  Backend& backend = device_.backend();
  for (size_t tap = 0; tap < taps_.size(); ++tap) {
    const View<const float, 2> tokens = forward_.tokens(tap, 0, count);
    if (backend.is_host()) {
      backend.copy_rows(stream, tokens, View<float, 2>(host_tokens(tap, 0), tokens.shape));
      continue;
    }
    const View<float, 2> packed = packed_.matrix(tokens.shape[0], tokens.shape[1]);
    backend.copy_rows(stream, tokens, packed);
    backend.copy_to_host(stream, host_tokens(tap, 0), packed.data, packed.size() * kFloatBytes);
  }
  stream.synchronize();
}

void ImageTokens::round_group(int64_t count) {
  const CachePrecision precision = options_.disk->precision();
  for (size_t tap = 0; tap < taps_.size(); ++tap) {
    float* tokens = host_tokens(tap, 0);
    const int64_t size = count * taps_[tap].positions * taps_[tap].width;
    for (int64_t i = 0; i < size; ++i) tokens[i] = rounded(tokens[i], precision);
  }
}

void ImageTokens::measure_norms(int64_t count) {
  on_threads(device_.backend().threads(), count, [&](int64_t place) {
    float* norms = norms_.data() + place * norms_size_;
    for (size_t tap = 0; tap < taps_.size(); ++tap) {
      const auto [positions, width] = taps_[tap];
      token_norms(View<const float, 2>(host_tokens(tap, place), {positions, width}), norms);
      norms += positions;
    }
  });
}

void ImageTokens::send(Stream& stream) {
  const auto [positions, width] = taps_.back();
  const int64_t floats = offsets_.back() + forward_.batch() * positions * width;
  sent_ = static_cast<const float*>(ring_->send(stream, group_, floats * kFloatBytes));
}

/// Images whose records turn out unusable are added to `failed`.
bool ImageTokens::run_disk(Stream& stream, const std::vector<int64_t>& images, std::vector<int64_t>& failed,
                           const Visit& visit) {
  for (const std::span<const int64_t> group : groups(images)) {
    const std::vector<int64_t> read = read_group(group, failed);
    if (read.empty()) continue;
    if (options_.norms) measure_norms(static_cast<int64_t>(read.size()));
    send(stream);
    if (!visit(read)) return false;
  }
  return true;
}

/// Returns the images that were read; their tokens lie side by side.
std::vector<int64_t> ImageTokens::read_group(std::span<const int64_t> images, std::vector<int64_t>& failed) {
  const auto count = static_cast<int64_t>(images.size());
  std::vector<char> usable(images.size());
  group_ = static_cast<float*>(ring_->stage());
  on_threads(device_.backend().threads(), count, [&](int64_t i) {
    std::vector<float*> tokens(taps_.size());
    for (size_t tap = 0; tap < taps_.size(); ++tap) tokens[tap] = host_tokens(tap, i);
    usable[static_cast<size_t>(i)] = options_.disk->read(images[static_cast<size_t>(i)], tokens);
  });
  std::vector<int64_t> read;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t image = images[static_cast<size_t>(i)];
    if (!usable[static_cast<size_t>(i)]) {
      failed.push_back(image);
      continue;
    }
    const auto place = static_cast<int64_t>(read.size());
    for (size_t tap = 0; place < i && tap < taps_.size(); ++tap) {
      std::memcpy(host_tokens(tap, place), host_tokens(tap, i),
                  static_cast<size_t>(taps_[tap].positions * taps_[tap].width * kFloatBytes));
    }
    read.push_back(image);
  }
  return read;
}

}  // namespace branchsae::model
