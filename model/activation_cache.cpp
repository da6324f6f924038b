#include "model/activation_cache.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/error.h"
#include "engine/log.h"

namespace branchsae::model {
namespace {

constexpr int64_t kSlabBytes = int64_t{64} << 20;

/// Row numbers are int32.
int64_t most_entries(const std::vector<TapExtent>& taps) {
  int64_t positions = 1;
  for (const TapExtent& tap : taps) positions = std::max(positions, tap.positions);
  return std::numeric_limits<int32_t>::max() / positions;
}

}  // namespace

ActivationCache::ActivationCache(Backend& backend, std::vector<TapExtent> taps, const CacheBudget& budget,
                                 int64_t images)
    : backend_(backend), taps_(std::move(taps)) {
  for (const TapExtent& tap : taps_) {
    offsets_.push_back(image_floats_);
    image_floats_ += tap.positions * tap.width;
  }
  slab_images_ = std::max<int64_t>(1, kSlabBytes / image_bytes());
  allocate_device(std::min({budget.device_bytes / image_bytes(), images, most_entries(taps_)}));
  if (!backend.is_host())
    host_capacity_ = std::min(budget.host_bytes / image_bytes(), images - device_capacity_);
}

/// Pages of the host's memory count only once they are written to.
void ActivationCache::allocate_device(int64_t capacity) {
  if (capacity <= 0) return;
  try {
    for (const TapExtent& tap : taps_) {
      device_.push_back(backend_.buffer<float>(capacity * tap.positions * tap.width, "kept activations"));
    }
    device_capacity_ = capacity;
  } catch (const MemoryError& error) {
    device_.clear();
    log(LogLevel::kInfo, fmt::format("activations are not kept on {}: {}", backend_.name(), error.what()));
  }
}

bool ActivationCache::add_slab() {
  const int64_t images = std::min(slab_images_, host_capacity_ - host_used_);
  try {
    slabs_.emplace_back(backend_.allocate_pinned(images * image_bytes(), "kept activations"));
    return true;
  } catch (const MemoryError& error) {
    host_capacity_ = host_used_;
    log(LogLevel::kInfo, fmt::format("no more activations are kept on the host: {}", error.what()));
    return false;
  }
}

std::optional<ActivationCache::Place> ActivationCache::find(int64_t image) const {
  const auto found = places_.find(image);
  return found == places_.end() ? std::nullopt : std::optional(found->second);
}

std::optional<ActivationCache::Place> ActivationCache::add(int64_t image) {
  Place place;
  if (device_used_ < device_capacity_) {
    place = {true, device_used_++};
  } else {
    if (host_used_ == host_capacity_) return std::nullopt;
    if (host_used_ % slab_images_ == 0 && !add_slab()) return std::nullopt;
    place = {false, host_used_++};
  }
  places_[image] = place;
  return place;
}

View<float, 2> ActivationCache::device_tokens(size_t tap) const {
  return {device_[tap].data(), {device_capacity_ * taps_[tap].positions, taps_[tap].width}};
}

View<float, 2> ActivationCache::host_tokens(int64_t entry, size_t tap) const {
  const DeviceBuffer<float>& slab = slabs_[static_cast<size_t>(entry / slab_images_)];
  const int64_t images = slab.size() / image_floats_, tokens = taps_[tap].positions * taps_[tap].width;
  return {slab.data() + images * offsets_[tap] + entry % slab_images_ * tokens,
          {taps_[tap].positions, taps_[tap].width}};
}

int64_t ActivationCache::host_neighbours(int64_t entry, int64_t count) const {
  return std::min(count, slab_images_ - entry % slab_images_);
}

}  // namespace branchsae::model
