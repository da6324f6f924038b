#include "analysis/features/selectivity.h"

#include <cmath>
#include <limits>
#include <map>

#include "analysis/statistics/false_discovery.h"
#include "analysis/statistics/information.h"

namespace branchsae {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr size_t kTop = 50;

}  // namespace

double top_share(const LatentActivity& activity, const Concept& c) {
  LatentActivity known;
  for (const ImageScore& score : activity.images) {
    if (c.known[static_cast<size_t>(score.image)] != 0) known.images.push_back(score);
  }
  const std::vector<ImageScore> top = known.top(kTop);
  int64_t shown = 0;
  for (const ImageScore& score : top) shown += c.shown[static_cast<size_t>(score.image)];
  return top.empty() ? kNaN : static_cast<double>(shown) / static_cast<double>(top.size());
}

Concept concept_below(const ImageSynsets& labels, std::string_view wordnet_id, std::string name) {
  Concept result{std::move(name), {}, labels.below(wordnet_id), labels.labelled(), 0};
  for (int64_t i = 0; i < labels.images(); ++i)
    result.known.push_back(labels.synset(static_cast<int32_t>(i)) >= 0 ? 1 : 0);
  for (uint8_t shown : result.shown) result.shown_count += shown;
  return result;
}

Selectivity selectivity(const LatentActivity& activity, const Concept& c) {
  std::vector<double> scores;
  std::vector<uint8_t> labels;
  int64_t shown = 0;
  for (const ImageScore& score : activity.images) {
    if (c.known[static_cast<size_t>(score.image)] == 0) continue;
    scores.push_back(static_cast<double>(score.max));
    labels.push_back(c.shown[static_cast<size_t>(score.image)]);
    shown += labels.back();
  }
  const auto active = static_cast<int64_t>(scores.size());
  const double rate = static_cast<double>(c.shown_count) / static_cast<double>(c.known_count);
  Selectivity result;
  result.lift = active > 0 ? static_cast<double>(shown) / static_cast<double>(active) / rate : kNaN;
  result.top_share = top_share(activity, c);
  // The silent images: those shown, then the others.
  scores.resize(static_cast<size_t>(c.known_count), 0.0);
  labels.resize(static_cast<size_t>(active + c.shown_count - shown), 1);
  labels.resize(static_cast<size_t>(c.known_count), 0);
  result.ranks = compare_ranks(scores, labels);
  result.r = point_biserial(scores, labels);
  return result;
}

void adjust(std::vector<Selectivity>& of_latents, const ImageScores& scores) {
  std::vector<double> p;
  for (size_t i = 0; i < of_latents.size(); ++i)
    p.push_back(scores.activity(static_cast<int64_t>(i)).images.empty() ? kNaN : of_latents[i].ranks.p);
  const std::vector<double> q = benjamini_hochberg(p);
  for (size_t i = 0; i < of_latents.size(); ++i) of_latents[i].q = std::isnan(q[i]) ? 1 : q[i];
}

std::optional<double> label_entropy(const LatentActivity& activity, const ImageSynsets& labels) {
  std::map<int32_t, double> by_class;
  for (const ImageScore& score : activity.images) {
    if (const int32_t synset = labels.synset(score.image); synset >= 0)
      by_class[synset] += static_cast<double>(score.max);
  }
  if (by_class.empty()) return std::nullopt;
  std::vector<double> weights;
  for (const auto& [synset, weight] : by_class) weights.push_back(weight);
  return entropy_bits(weights);
}

}  // namespace branchsae
