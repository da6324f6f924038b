#include "analysis/features/label_precision.h"

#include <array>
#include <limits>

namespace branchsae {
namespace {

/// The labels of every other labelled image.
std::array<ImageSynsets, 2> halves(const ImageSynsets& labels) {
  std::array<std::vector<std::string>, 2> ids;
  int64_t seen = 0;
  for (int32_t i = 0; i < labels.images(); ++i) {
    const int32_t synset = labels.synset(i);
    const std::string id = synset < 0 ? "" : labels.wordnet().synset(synset).id;
    const size_t half = synset < 0 ? 0 : static_cast<size_t>(seen++ % 2);
    ids[half].push_back(id);
    ids[1 - half].emplace_back();
  }
  return {ImageSynsets(labels.wordnet(), ids[0]), ImageSynsets(labels.wordnet(), ids[1])};
}

struct Share {
  int64_t under = 0, looked_at = 0;
};

Share share_under(const LatentActivity& activity, const ImageSynsets& half, int32_t synset) {
  LatentActivity known;
  for (const ImageScore& score : activity.images) {
    if (half.synset(score.image) >= 0) known.images.push_back(score);
  }
  Share share;
  for (const ImageScore& score : known.top(static_cast<size_t>(EnrichmentOptions{}.top))) {
    share.under += half.wordnet().is_a(half.synset(score.image), synset) ? 1 : 0;
    ++share.looked_at;
  }
  return share;
}

}  // namespace

LabelPrecision label_precision(const ImageScores& scores, const ImageSynsets& labels) {
  LabelPrecision result;
  result.labelled_images = labels.labelled();
  const std::array<ImageSynsets, 2> half = halves(labels);
  const Enrichment found_on(half[0], {});
  for (int64_t i = 0; i < scores.latents(); ++i) {
    const auto label = found_on.label(scores.activity(i));
    if (!label) continue;
    const Share share = share_under(scores.activity(i), half[1], label->synset);
    if (share.looked_at == 0) continue;
    ++result.labels;
    result.precision += static_cast<double>(share.under) / static_cast<double>(share.looked_at);
    result.chance +=
        static_cast<double>(half[1].count(label->synset)) / static_cast<double>(half[1].labelled());
  }
  const double count =
      result.labels > 0 ? static_cast<double>(result.labels) : std::numeric_limits<double>::quiet_NaN();
  result.precision /= count;
  result.chance /= count;
  return result;
}

}  // namespace branchsae
