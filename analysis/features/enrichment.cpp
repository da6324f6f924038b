#include "analysis/features/enrichment.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "analysis/statistics/false_discovery.h"

namespace branchsae {
namespace {

/// The best labelled images; unlabelled ones tell nothing.
std::vector<ImageScore> top_labelled(const LatentActivity& activity, const ImageSynsets& labels,
                                     int64_t count) {
  LatentActivity known;
  std::ranges::copy_if(activity.images, std::back_inserter(known.images),
                       [&](const ImageScore& score) { return labels.synset(score.image) >= 0; });
  return known.top(static_cast<size_t>(count));
}

}  // namespace

Enrichment::Enrichment(const ImageSynsets& labels, const EnrichmentOptions& options)
    : labels_(labels), options_(options), factorials_(labels.labelled()) {
  const auto synsets = static_cast<int32_t>(labels.wordnet().synsets().size());
  for (int32_t v = 0; v < synsets; ++v) tested_ += labels.count(v) >= options.least_images ? 1 : 0;
}

std::optional<LatentLabel> Enrichment::label(const LatentActivity& activity) const {
  const std::vector<ImageScore> top = top_labelled(activity, labels_, options_.top);
  const auto drawn = static_cast<int64_t>(top.size()), all = labels_.labelled();
  std::map<int32_t, int64_t> hits;
  for (const ImageScore& score : top) {
    for (int32_t above : labels_.wordnet().synset(labels_.synset(score.image)).lineage) ++hits[above];
  }
  std::vector<LatentLabel> candidates;
  // Synsets without a hit have p = 1: they count in the correction, not as candidates.
  std::vector<double> p;
  for (const auto& [synset, count] : hits) {
    const int64_t images = labels_.count(synset);
    if (images < options_.least_images) continue;
    const Synset& named = labels_.wordnet().synset(synset);
    candidates.push_back({synset, named.id, named.name, count, drawn, images,
                          hypergeometric_tail(count, drawn, images, all, factorials_).p, 1,
                          -std::log(static_cast<double>(images) / static_cast<double>(all))});
    p.push_back(candidates.back().p);
  }
  p.resize(static_cast<size_t>(tested_), 1.0);
  const std::vector<double> q = benjamini_hochberg(p);
  std::optional<LatentLabel> best;
  for (size_t i = 0; i < candidates.size(); ++i) {
    LatentLabel& candidate = candidates[i];
    candidate.q = q[i];
    const bool common =
        static_cast<double>(candidate.hits) >= options_.least_share * static_cast<double>(drawn);
    if (!(candidate.q < options_.q) || !common) continue;
    const auto rank = [](const LatentLabel& label) {
      return std::tuple(-label.information, label.p, label.synset);
    };
    if (!best || rank(candidate) < rank(*best)) best = candidate;
  }
  return best;
}

}  // namespace branchsae
