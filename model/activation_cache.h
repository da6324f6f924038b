#pragma once
/// Keeps images' tokens, so that later epochs need no forward pass: in the device's memory as far as its
/// budget goes, then in the host's (pinned, so that they travel while both sides go on).
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "engine/backend.h"

namespace branchsae::model {

struct TapExtent {
  int64_t positions = 0;  ///< tokens per image
  int64_t width = 0;      ///< d
  bool operator==(const TapExtent&) const = default;
};

struct CacheBudget {
  int64_t device_bytes = 0;
  int64_t host_bytes = 0;  ///< beside it; for devices with memory of their own only
};

class ActivationCache {
 public:
  /// Where an image is: number `entry` of those on the device, or of those on the host.
  struct Place {
    bool on_device = true;
    int64_t entry = 0;
  };

  /// images: how many there are at most. Allocates the device's part; when that cannot be had, there is none.
  ActivationCache(Backend& backend, std::vector<TapExtent> taps, const CacheBudget& budget, int64_t images);

  std::optional<Place> find(int64_t image) const;
  /// Room for an image's tokens of all taps, undefined at first; the image counts as kept from now on. Unset
  /// when the budget is spent. Images added one after the other to one memory get entries one after the
  /// other.
  std::optional<Place> add(int64_t image);

  /// All images' tokens of a tap, [entries * positions, d], device: entry e has rows from e * positions on.
  View<float, 2> device_tokens(size_t tap) const;
  /// [positions, d], host.
  View<float, 2> host_tokens(int64_t entry, size_t tap) const;
  /// How many entries from this one on lie side by side on the host, at most `count`: their tokens of a tap
  /// follow one another.
  int64_t host_neighbours(int64_t entry, int64_t count) const;

  int64_t image_bytes() const { return image_floats_ * static_cast<int64_t>(sizeof(float)); }
  int64_t device_capacity() const { return device_capacity_; }
  int64_t host_capacity() const { return host_capacity_; }

 private:
  void allocate_device(int64_t capacity);
  bool add_slab();

  Backend& backend_;
  std::vector<TapExtent> taps_;
  std::vector<int64_t> offsets_;  ///< floats of the taps before, an image
  int64_t image_floats_ = 0;
  int64_t device_capacity_ = 0, device_used_ = 0;
  int64_t host_capacity_ = 0, host_used_ = 0;
  std::vector<DeviceBuffer<float>> device_;  ///< per tap
  std::vector<DeviceBuffer<float>> slabs_;   ///< host; of slab_images_ each, tap after tap
  int64_t slab_images_ = 1;
  std::unordered_map<int64_t, Place> places_;
};

}  // namespace branchsae::model
