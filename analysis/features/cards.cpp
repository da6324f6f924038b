#include "analysis/features/cards.h"

#include <algorithm>

namespace branchsae {
namespace {

/// Of `size` ranks `count` spread evenly: the middles of as many equal parts; all of them when there are no
/// more.
std::vector<size_t> even_ranks(size_t size, size_t count) {
  std::vector<size_t> ranks;
  count = std::min(count, size);
  for (size_t i = 0; i < count; ++i) ranks.push_back((2 * i + 1) * size / (2 * count));
  return ranks;
}

}  // namespace

std::vector<int64_t> evenly_by_density(const ImageScores& scores, size_t count) {
  std::vector<int64_t> live;
  for (int64_t i = 0; i < scores.latents(); ++i) {
    if (scores.activity(i).tokens_fired > 0) live.push_back(i);
  }
  std::ranges::stable_sort(live, {}, [&](int64_t i) { return scores.activity(i).tokens_fired; });
  std::vector<int64_t> chosen;
  for (size_t rank : even_ranks(live.size(), count)) chosen.push_back(live[rank]);
  std::ranges::sort(chosen);
  return chosen;
}

std::vector<ImageScore> at_quantiles(const LatentActivity& activity, size_t count) {
  std::vector<ImageScore> order = activity.images;
  std::ranges::stable_sort(order, {}, &ImageScore::max);
  std::vector<ImageScore> chosen;
  for (size_t rank : even_ranks(order.size(), count)) chosen.push_back(order[rank]);
  return chosen;
}

FeatureCard make_card(const ImageScores& scores, int64_t latent, size_t crops) {
  const LatentActivity& activity = scores.activity(latent);
  return {latent, activity.top(crops), at_quantiles(activity, crops)};
}

HeatMaps::HeatMaps(const std::vector<FeatureCard>& cards) {
  for (const FeatureCard& card : cards) {
    for (const auto* list : {&card.top, &card.quantiles}) {
      for (const ImageScore& score : *list) maps_[score.image][static_cast<int32_t>(card.latent)];
    }
  }
}

std::vector<int64_t> HeatMaps::images() const {
  std::vector<int64_t> images;
  for (const auto& [image, maps] : maps_) images.push_back(image);
  return images;
}

HeatMaps::ByLatent* HeatMaps::begin(int64_t image, int64_t positions) {
  const auto found = maps_.find(image);
  if (found == maps_.end()) return nullptr;
  for (auto& [latent, map] : found->second) map.assign(static_cast<size_t>(positions), 0.0F);
  return &found->second;
}

void HeatMaps::add(const CodeBatch& batch) {
  for (size_t i = 0; i < batch.images.size(); ++i) {
    ByLatent* maps = begin(batch.images[i], batch.tokens_per_image);
    if (maps == nullptr) continue;
    for (int64_t p = 0; p < batch.tokens_per_image; ++p) {
      for (int64_t slot = 0; slot < batch.k; ++slot) {
        const auto map = maps->find(batch.indices(batch.first(i) + p, slot));
        if (map != maps->end()) map->second[static_cast<size_t>(p)] = batch.values(batch.first(i) + p, slot);
      }
    }
  }
}

void HeatMaps::add(const CodeStore& codes, const std::vector<int64_t>& images) {
  for (size_t i = 0; i < images.size(); ++i) {
    ByLatent* maps = begin(images[i], codes.positions());
    if (maps == nullptr) continue;
    for (int64_t p = 0; p < codes.positions(); ++p) {
      for (const CodeEntry& entry : codes.token(static_cast<int64_t>(i), p)) {
        const auto map = maps->find(entry.latent);
        if (map != maps->end()) map->second[static_cast<size_t>(p)] = entry.value;
      }
    }
  }
}

const std::vector<float>& HeatMaps::of(int64_t latent, int64_t image) const {
  static const std::vector<float> kNone;
  const auto found = maps_.find(image);
  if (found == maps_.end()) return kNone;
  const auto map = found->second.find(static_cast<int32_t>(latent));
  return map == found->second.end() ? kNone : map->second;
}

}  // namespace branchsae
