#pragma once
/// Images' tokens, from the disk where they are kept there, else from the network, which leaves them there.
/// Whoever asks cannot tell which it was: with records in bf16 the network's tokens are rounded to it too.
#include <memory>
#include <span>
#include <vector>

#include "model/activation_cache.h"
#include "model/disk_cache.h"
#include "model/image_forward.h"
#include "model/upload_ring.h"

namespace branchsae::model {

class ImageTokens {
 public:
  using Visit = ImageForward::Visit;

  struct Options {
    DiskCache* disk = nullptr;  ///< outlives this; null: the network alone
    bool norms = false;         ///< whether norms() will be asked for
  };
  /// `forward` outlives this.
  ImageTokens(const Device& device, ImageForward& forward, const Options& options);

  /// As ImageForward::run, but for the order: images that the disk has come first.
  bool run(Stream& stream, const std::vector<int64_t>& images, const ImageReader::OnUnreadable& on_unreadable,
           const Visit& visit, int64_t epoch = ImageForward::kCentre);
  /// In the order given, and in batches that do not depend on what the disk has: all images are read from
  /// there, or all go through the network.
  bool run_in_order(Stream& stream, const std::vector<int64_t>& images,
                    const ImageReader::OnUnreadable& on_unreadable, const Visit& visit);
  /// What the next run() will ask for.
  void prefetch(const std::vector<int64_t>& images, int64_t epoch = ImageForward::kCentre);

  const std::vector<Tap>& taps() const { return forward_.taps(); }
  int64_t positions(size_t tap) const { return forward_.positions(tap); }
  int64_t batch() const { return forward_.batch(); }
  /// Tokens of the images from number `place` of the batch that `visit` was told of on, [count * positions,
  /// d], device.
  View<const float, 2> tokens(size_t tap, int64_t place, int64_t count) const;
  /// Euclidean norms of an image's tokens, tap after tap, [positions of all taps].
  std::span<const float> norms(int64_t place) const;
  /// Floats of an image's norms().
  int64_t norms_size() const { return norms_size_; }

 private:
  bool uses_host() const { return options_.disk != nullptr || options_.norms; }
  bool run_network(Stream& stream, const std::vector<int64_t>& images,
                   const ImageReader::OnUnreadable& on_unreadable, const Visit& visit, int64_t epoch);
  bool run_disk(Stream& stream, const std::vector<int64_t>& images, std::vector<int64_t>& failed,
                const Visit& visit);
  bool reads_all(const std::vector<int64_t>& images);
  std::vector<std::span<const int64_t>> groups(const std::vector<int64_t>& images) const;
  std::vector<int64_t> read_group(std::span<const int64_t> images, std::vector<int64_t>& failed);
  void take_batch(Stream& stream, const std::vector<int64_t>& images);
  void fetch_sync(Stream& stream, int64_t count);
  void round_group(int64_t count);
  void measure_norms(int64_t count);
  void send(Stream& stream);
  float* host_tokens(size_t tap, int64_t place) const;

  Device device_;
  ImageForward& forward_;
  Options options_;
  std::vector<TapExtent> taps_;
  std::vector<int64_t> offsets_;  ///< floats of the taps before, a batch
  int64_t norms_size_ = 0;

  std::unique_ptr<UploadRing> ring_;  ///< a batch's tokens, tap after tap; unset where the host sees none
  DeviceBuffer<float> packed_;        ///< of one tap on their way to the host
  float* group_ = nullptr;            ///< host's side of the present batch
  const float* sent_ = nullptr;       ///< device's side; null: the network's own output
  std::vector<float> norms_;          ///< [batch, norms_size]
};

}  // namespace branchsae::model
