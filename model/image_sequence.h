#pragma once
/// The endless order in which images train: one permutation after the other.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/image_order.h"

namespace branchsae::model {

/// Random streams of one seed (engine/random.h): the use in the top byte, what it is for below.
enum class RandomUse : uint64_t {
  kStart = 1,
  kEpochOrder = 2,
  kRoundOrder = 3,
  kPositions = 4,
  kNormPositions = 5,
  kAugment = 6,
  kShardOrder = 7,
  kShuffleBuffer = 8
};
constexpr uint64_t random_stream(RandomUse use, uint64_t what) {
  return static_cast<uint64_t>(use) << 56 | (what & ((uint64_t{1} << 56) - 1));
}

/// A place in the sequence: always before an image of the epoch, never past its last.
struct SequencePlace {
  int64_t epoch = 0;
  int64_t position = 0;
  bool operator==(const SequencePlace&) const = default;
};

class ImageSequence {
 public:
  struct Entry {
    int64_t image = 0;  ///< index into the source
    int64_t epoch = 0;
  };

  /// Random orders. images: not empty.
  ImageSequence(std::vector<int64_t> images, uint64_t seed);
  /// Orders by shards (order_by_shards); `shards` hold the places of `images`.
  ImageSequence(std::vector<int64_t> images, ShardPlaces shards, int64_t buffer, uint64_t seed);
  Entry next();
  SequencePlace place() const { return place_; }
  void seek(SequencePlace place);
  int64_t size() const { return static_cast<int64_t>(images_.size()); }

 private:
  std::vector<int64_t> images_;
  ShardPlaces shards_;  ///< empty: random orders
  int64_t buffer_ = 0;
  uint64_t seed_;
  SequencePlace place_;
  std::vector<int32_t> order_;  ///< of epoch order_epoch_
  int64_t order_epoch_ = -1;
};

}  // namespace branchsae::model
