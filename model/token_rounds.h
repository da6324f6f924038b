#pragma once
/// Shuffled batches of tokens for all taps. A round takes the next R readable images of the sequence; their
/// tokens fill one buffer per tap and are visited in one random order, the same for every tap, in batches of
/// B; the rest of less than B is dropped.
///
/// What a batch holds depends on seed, images and sizes only: not on what is cached, on which images turned
/// out unreadable when, or on where an earlier process stopped.
#include <functional>
#include <unordered_map>
#include <vector>

#include "model/activation_cache.h"
#include "model/image_forward.h"
#include "model/image_sequence.h"
#include "model/skipped_images.h"

namespace branchsae::model {

struct RoundSizes {
  int64_t batch = 0;      ///< B
  int64_t positions = 0;  ///< tokens per image, each tap
  int64_t images = 0;     ///< R
  int64_t tokens() const { return images * positions; }
  int64_t batches() const { return tokens() / batch; }
};

/// Where the next batch comes from; enough to go on from.
struct RoundPlace {
  int64_t round = 0;
  SequencePlace start;  ///< of the round's first image
  int64_t batch = 0;    ///< within the round
  bool operator==(const RoundPlace&) const = default;
};

class TokenRounds {
 public:
  /// Told of every image that reached a buffer; false stops the filling.
  using OnImages = std::function<bool(int64_t done, int64_t total)>;

  /// Allocates the buffers. `forward` and `skipped` outlive this.
  TokenRounds(const Device& device, ImageForward& forward, SkippedImages& skipped, ImageSequence sequence,
              const RoundSizes& sizes, uint64_t seed, int64_t cache_bytes);

  /// Makes sure that there is a next batch: fills the buffers when the round is over. False when `on_images`
  /// stopped it; place() is then still where it was.
  bool prepare(Stream& stream, const OnImages& on_images);
  /// The next batch of a tap, [B, d], device; valid until the next call.
  View<const float, 2> batch(Stream& stream, size_t tap);
  /// Goes on to the batch after.
  void advance();

  /// Up to `rows` tokens of a tap in the images' order (not shuffled), [rows, d], device, in `storage`.
  View<const float, 2> first_tokens(Stream& stream, size_t tap, int64_t rows, DeviceBuffer<float>& storage);

  RoundPlace place() const { return place_; }
  void seek(const RoundPlace& place);
  const ActivationCache& cache() const { return cache_; }
  static int64_t buffer_bytes(const RoundSizes& sizes, const std::vector<TapExtent>& taps);

 private:
  struct Candidate {
    int64_t image = 0, epoch = 0;
    int64_t slot = 0;
    bool readable = true;
  };
  bool fill(Stream& stream, const OnImages& on_images);
  std::vector<Candidate> draw(std::vector<int64_t>& free_slots);
  bool read_pass(Stream& stream, std::vector<Candidate>& candidates, const OnImages& on_images);
  void place_forwarded(Stream& stream, const Candidate& candidate, int64_t place);
  void place_cached(Stream& stream, const Candidate& candidate);
  void place_tokens(Stream& stream, const Candidate& candidate, size_t tap, View<const float, 2> tokens);
  void upload_order(Stream& stream);
  int64_t row_of(int64_t token) const;

  Device device_;
  ImageForward& forward_;
  SkippedImages& skipped_;
  ImageSequence sequence_;
  RoundSizes sizes_;
  uint64_t seed_;
  std::vector<TapExtent> taps_;
  ActivationCache cache_;

  std::vector<DeviceBuffer<float>> buffers_;  ///< [R * positions, d] per tap
  DeviceBuffer<float> batch_;                 ///< [B, largest d]
  DeviceBuffer<float> staged_;                ///< one image's tokens on their way from the cache to a device
  DeviceBuffer<int32_t> order_;               ///< [R * positions] rows of the buffers
  DeviceBuffer<int32_t> rows_;                ///< [positions] sampled positions of one image

  std::vector<int64_t> slots_;  ///< buffer slot of the round's i-th image
  RoundPlace place_;
  bool filled_ = false;
};

/// `count` of `total` positions, ascending; depends on seed, epoch and image.
std::vector<int32_t> sample_positions(int64_t count, int64_t total, uint64_t seed, int64_t epoch,
                                      int64_t image);

}  // namespace branchsae::model
