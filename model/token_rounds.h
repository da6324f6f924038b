#pragma once
/// Shuffled batches of tokens for all taps. A round takes the next R readable images of the sequence; their
/// tokens fill one buffer per tap and are visited in one random order, the same for every tap, in batches of
/// B; the rest of less than B is dropped.
///
/// What a batch holds depends on seed, images and sizes only: not on what is cached, on which images turned
/// out unreadable when, or on where an earlier process stopped.
///
/// Tokens stay on the device: the host says by row numbers what goes where. Their order is drawn on the host,
/// where it is the same for every device, while the device trains on the round before.
#include <functional>
#include <future>
#include <memory>
#include <unordered_map>
#include <vector>

#include "engine/host_tensor.h"
#include "model/activation_cache.h"
#include "model/image_sequence.h"
#include "model/image_tokens.h"
#include "model/skipped_images.h"
#include "model/token_sample.h"
#include "model/upload_ring.h"

namespace branchsae::model {

struct RoundSizes {
  int64_t batch = 0;                               ///< B
  int64_t positions = 0;                           ///< tokens per image, each tap
  int64_t images = 0;                              ///< R
  TokenSampling sample = TokenSampling::kUniform;  ///< of the positions, where a tap has more
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

  /// Allocates the buffers. `tokens` and `skipped` outlive this; with TokenSampling::kNorm `tokens` gives
  /// norms.
  TokenRounds(const Device& device, ImageTokens& tokens, SkippedImages& skipped, ImageSequence sequence,
              const RoundSizes& sizes, uint64_t seed);
  ~TokenRounds();
  /// Keeps images' tokens from here on. Before the first round.
  void keep_activations(const CacheBudget& budget);

  /// Makes sure that there is a next batch: fills the buffers when the round is over. False when `on_images`
  /// stopped it; place() is then still where it was. The work is done when it returns.
  bool prepare(Stream& stream, const OnImages& on_images);
  /// Whether the present round has a next batch, so that prepare() has nothing to do.
  bool filled() const { return filled_; }
  /// The round after this one will be wanted: what needs no device is begun.
  void prefetch();
  /// The next batch of every tap, each [B, d], device; valid until the next call.
  const std::vector<View<const float, 2>>& batches(Stream& stream);
  /// Goes on to the batch after.
  void advance();
  int64_t batches_left() const { return sizes_.batches() - place_.batch; }

  /// Up to `rows` tokens of a tap in the images' order (not shuffled), [rows, d]. Blocking; batches() have to
  /// be asked for again afterwards.
  HostTensor first_tokens_sync(Stream& stream, size_t tap, int64_t rows);

  RoundPlace place() const { return place_; }
  void seek(const RoundPlace& place);
  const ActivationCache& cache() const { return *cache_; }

 private:
  struct Candidate {
    int64_t image = 0, epoch = 0;
    std::optional<ActivationCache::Place> kept;
    int64_t slot = 0;
    bool readable = true;
  };
  /// Images whose slots follow one another; the tokens of each are at a multiple of its tap's positions.
  struct Run {
    size_t begin = 0, count = 0;
  };
  using Candidates = std::vector<const Candidate*>;

  bool fill(Stream& stream, const OnImages& on_images);
  std::vector<Candidate> draw(std::vector<int64_t>& free_slots);
  bool read_pass(Stream& stream, std::vector<Candidate>& candidates, const OnImages& on_images);
  std::vector<Run> runs(const Candidates& images) const;
  View<float, 2> slots(size_t tap, int64_t first, int64_t count);
  /// The images' tokens from `source`, image i from row at[i] * positions on, to their slots.
  void place(Stream& stream, const Candidates& images, const std::vector<int64_t>& at,
             const std::function<View<const float, 2>(size_t tap)>& source);
  void number_rows(const Candidates& images, const std::vector<int64_t>& at, size_t tap, int32_t* rows) const;
  std::vector<int32_t> positions_of(const Candidate& image, size_t tap) const;
  void note_norms(const Candidates& images);
  void forget_norms(const Candidates& images);
  void place_batch(Stream& stream, const Candidates& images);
  void place_from_device(Stream& stream, const Candidates& images);
  void place_from_host(Stream& stream, const Candidate& image);
  void keep(Stream& stream, const Candidates& images);
  void keep_run(Stream& stream, ActivationCache::Place first, int64_t place, int64_t count);
  void draw_order(int64_t round);
  void upload_order(Stream& stream);
  int64_t row_of(int64_t token) const;

  Device device_;
  ImageTokens& tokens_;
  SkippedImages& skipped_;
  ImageSequence sequence_;
  RoundSizes sizes_;
  uint64_t seed_;
  std::vector<TapExtent> taps_;
  /// Taps that always give the same positions share row numbers: those of one grid, by norm each by itself.
  std::vector<size_t> leaders_;                            ///< one tap of each such group
  std::vector<size_t> leader_of_;                          ///< by tap: place in leaders_
  std::unordered_map<int64_t, std::vector<float>> norms_;  ///< of kept images, tap after tap
  std::unique_ptr<ActivationCache> cache_;

  std::vector<DeviceBuffer<float>> buffers_;  ///< [R * positions, d] per tap
  std::vector<DeviceBuffer<float>> batches_;  ///< [B, d] per tap
  std::vector<View<const float, 2>> batch_views_;
  UploadRing orders_;  ///< [R * positions] rows of the buffers; the latest piece is the present round's
  UploadRing rows_;    ///< [leaders, up to R * positions] row numbers that place tokens
  const int32_t* order_ = nullptr;
  std::unique_ptr<UploadRing> samples_;  ///< tokens of one image on their way from the host's cache
  DeviceBuffer<float> packed_;           ///< a batch's tokens of one tap on their way to it

  std::vector<int64_t> slots_;  ///< buffer slot of the round's i-th image
  RoundPlace place_;
  bool filled_ = false;
  std::future<std::vector<int32_t>> drawn_order_;  ///< of round drawn_round_
  int64_t drawn_round_ = -1;
};

}  // namespace branchsae::model
