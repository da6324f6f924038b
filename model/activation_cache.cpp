#include "model/activation_cache.h"

namespace branchsae::model {

ActivationCache::ActivationCache(std::vector<TapExtent> taps, int64_t budget_bytes)
    : taps_(std::move(taps)), budget_bytes_(budget_bytes) {
  for (const TapExtent& tap : taps_) {
    offsets_.push_back(image_floats_);
    image_floats_ += tap.positions * tap.width;
  }
}

void ActivationCache::add(int64_t image) {
  auto& memory = images_[image];
  if (memory) return;
  memory = std::make_unique_for_overwrite<float[]>(static_cast<size_t>(image_floats_));
  used_bytes_ += image_bytes();
}

View<float, 2> ActivationCache::tokens(int64_t image, size_t tap) const {
  return {images_.at(image).get() + offsets_[tap], {taps_[tap].positions, taps_[tap].width}};
}

}  // namespace branchsae::model
