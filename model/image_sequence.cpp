#include "model/image_sequence.h"

#include "engine/random.h"

namespace branchsae::model {

ImageSequence::ImageSequence(std::vector<int64_t> images, uint64_t seed)
    : images_(std::move(images)), seed_(seed) {}

ImageSequence::ImageSequence(std::vector<int64_t> images, ShardPlaces shards, int64_t buffer, uint64_t seed)
    : images_(std::move(images)), shards_(std::move(shards)), buffer_(buffer), seed_(seed) {}

ImageSequence::Entry ImageSequence::next() {
  if (order_epoch_ != place_.epoch) {
    const auto epoch = static_cast<uint64_t>(place_.epoch);
    order_ = shards_.empty() ? random_permutation(size(), seed_, random_stream(RandomUse::kEpochOrder, epoch))
                             : order_by_shards(shards_, buffer_, seed_, place_.epoch);
    order_epoch_ = place_.epoch;
  }
  const int32_t drawn = order_[static_cast<size_t>(place_.position)];
  const Entry entry{images_[static_cast<size_t>(drawn)], place_.epoch};
  if (++place_.position == size()) place_ = {place_.epoch + 1, 0};
  return entry;
}

void ImageSequence::seek(SequencePlace place) {
  place_ = place;
}

}  // namespace branchsae::model
