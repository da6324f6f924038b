#pragma once
/// A small device for tests of the trainer: host memory, a made-up network, a slow plain autoencoder. What it
/// computes is real (tokens depend on the pixels, training learns), so that a wrong batch, place or state
/// shows in the bytes.
#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/device.h"
#include "engine/images.h"

namespace branchsae::test {

/// What the fake counts and can be told to do; outlives the device.
struct FakeControl {
  bool host = true;  ///< is_host(); false takes the paths of a device with memory of its own
  /// Work waits in its stream until somebody waits for it: what is used too early, or overwritten too early,
  /// shows.
  bool deferred = false;
  bool bf16 = false;         ///< offers bf16, as its usual precision (computed as float32)
  int64_t memory_bytes = 0;  ///< that can be allocated; 0: any amount, and nobody knows how much is free
  int64_t images_run = 0;    ///< forward passes, blank images included
  int64_t copies = 0;        ///< of any kind, and gathers
  int64_t memory_used = 0;
};

Device fake_device(FakeControl& control);

/// Values "a" (8 channels, grid H/2 x W/2), "b" (12, H/2 x W/2), "c" (6, H/4 x W/4), "lock" (4, H/2 x W/2);
/// input "data". A token is ReLU of a fixed random map of the pixels under it.
Graph fake_graph();

/// Float32 images of 8 x 8 x 3 random pixels, unreadable where told. A draw shifts their level and turns
/// them.
class FakeImages : public ImageSource {
 public:
  explicit FakeImages(int64_t count, uint64_t seed = 1);
  int64_t size() const override { return static_cast<int64_t>(infos_.size()); }
  const ImageInfo& info(int64_t index) const override { return infos_.at(static_cast<size_t>(index)); }
  PixelFormat format() const override { return PixelFormat::kF32; }
  int64_t height() const override { return 8; }
  int64_t width() const override { return 8; }
  int64_t channels() const override { return 3; }
  std::string fingerprint() const override {
    return "fake-" + std::to_string(seed_) + "-" + std::to_string(size());
  }
  int64_t shards() const override { return shard_size > 0 ? (size() + shard_size - 1) / shard_size : 0; }
  int64_t shard(int64_t index) const override { return shard_size > 0 ? index / shard_size : 0; }
  int64_t offset(int64_t index) const override { return index; }
  std::string lost(int64_t index) const override {
    return index >= lost_from && index < lost_to ? "gone" : "";
  }
  bool has_room() const override { return room; }
  std::string read(int64_t index, void* dst, const CropDraw& draw) const override;

  bool room = true;
  int64_t shard_size = 0;              ///< > 0: images come from shards of this many
  int64_t lost_from = 0, lost_to = 0;  ///< whose shard lost them; they cannot be read either
  std::map<int64_t, std::string> unreadable;
  /// Whether an image was ever read but for its centre.
  bool drawn(int64_t index) const { return drawn_[static_cast<size_t>(index)].load(); }
  std::map<int64_t, float> poisoned;  ///< images whose first pixels are this value
  mutable std::atomic<int64_t> reads{0};

 private:
  uint64_t seed_;
  std::vector<ImageInfo> infos_;
  std::unique_ptr<std::atomic<bool>[]> drawn_;
};

}  // namespace branchsae::test
