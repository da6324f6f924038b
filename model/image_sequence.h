#pragma once
/// The endless order in which images train: one random permutation after the other.
#include <cstddef>
#include <cstdint>
#include <vector>

namespace branchsae::model {

/// Random streams of one seed (engine/random.h): the use in the top byte, what it is for below.
enum class RandomUse : uint64_t {
  kStart = 1,
  kEpochOrder = 2,
  kRoundOrder = 3,
  kPositions = 4,
  kNormPositions = 5
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

  /// images: not empty.
  ImageSequence(std::vector<int64_t> images, uint64_t seed);
  Entry next();
  SequencePlace place() const { return place_; }
  void seek(SequencePlace place);
  int64_t size() const { return static_cast<int64_t>(images_.size()); }

 private:
  std::vector<int64_t> images_;
  uint64_t seed_;
  SequencePlace place_;
  std::vector<int32_t> order_;  ///< of epoch order_epoch_
  int64_t order_epoch_ = -1;
};

}  // namespace branchsae::model
