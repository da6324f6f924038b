#include "analysis/branches/concepts.h"

#include <fmt/format.h>

#include <functional>
#include <limits>
#include <optional>

#include "analysis/features/responses.h"
#include "engine/error.h"
#include "engine/parallel.h"

namespace branchsae {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kMostQ = 0.05;

bool is_live(const ImageScores& scores, int64_t unit) {
  return !scores.activity(unit).images.empty();
}

std::vector<Selectivity> selectivities(const ImageScores& scores, const Concept& c, int threads) {
  std::vector<Selectivity> all(static_cast<size_t>(scores.latents()));
  on_threads(threads, scores.latents(), [&](int64_t unit) {
    if (is_live(scores, unit)) all[static_cast<size_t>(unit)] = selectivity(scores.activity(unit), c);
  });
  return all;
}

void finish(UnitConcept& units) {
  units.positives = 0;
  for (const uint8_t positive : units.positive) units.positives += positive;
}

using Index = std::function<std::optional<double>(const LatentActivity&, const LatentActivity&)>;

UnitConcept by_index(const ImageScores& original, const ImageScores& changed, double limit,
                     const Index& index, int threads, UnitConcept units) {
  if (original.latents() != changed.latents())
    throw ShapeError(
        fmt::format("{} units, but {} in the changed images", original.latents(), changed.latents()));
  units.score.resize(static_cast<size_t>(original.latents()));
  on_threads(threads, original.latents(), [&](int64_t unit) {
    units.score[static_cast<size_t>(unit)] =
        index(original.activity(unit), changed.activity(unit)).value_or(kNaN);
  });
  for (const double value : units.score) units.positive.push_back(value >= limit ? 1 : 0);
  finish(units);
  return units;
}

}  // namespace

std::vector<uint8_t> live_units(const ImageScores& scores) {
  std::vector<uint8_t> live;
  for (int64_t unit = 0; unit < scores.latents(); ++unit) live.push_back(is_live(scores, unit) ? 1 : 0);
  return live;
}

UnitConcept selective_units(const ImageScores& scores, const Concept& c, int threads) {
  std::vector<Selectivity> all = selectivities(scores, c, threads);
  adjust(all, scores);
  UnitConcept units{c.name, fmt::format("AUROC of image scores > 0.5, q < {} over live units", kMostQ),
                    "AUROC"};
  for (int64_t unit = 0; unit < scores.latents(); ++unit) {
    const Selectivity& s = all[static_cast<size_t>(unit)];
    const bool live = is_live(scores, unit);
    units.score.push_back(live ? s.ranks.auroc : kNaN);
    units.positive.push_back(live && s.ranks.auroc > 0.5 && s.q < kMostQ ? 1 : 0);
  }
  finish(units);
  return units;
}

std::vector<int32_t> unit_labels(const ImageScores& scores, const ImageSynsets& labels, int threads) {
  const Enrichment enrichment(labels, {});
  std::vector<int32_t> result(static_cast<size_t>(scores.latents()), -1);
  on_threads(threads, scores.latents(), [&](int64_t unit) {
    const auto label = enrichment.label(scores.activity(unit));
    if (label) result[static_cast<size_t>(unit)] = label->synset;
  });
  return result;
}

UnitConcept labelled_units(const ImageScores& scores, const std::vector<int32_t>& unit_label,
                           const Concept& c, std::string_view wordnet_id, int threads) {
  const WordNet& wordnet = WordNet::built_in();
  const int32_t synset = wordnet.find(wordnet_id);
  UnitConcept units{c.name + " by label",
                    "WordNet label of the top 50 images (q < 0.05, at least half of them)",
                    "share of the top 50"};
  for (int64_t unit = 0; unit < scores.latents(); ++unit) {
    const int32_t label = unit_label[static_cast<size_t>(unit)];
    units.positive.push_back(label >= 0 && wordnet.is_a(label, synset) ? 1 : 0);
  }
  units.score.resize(static_cast<size_t>(scores.latents()), kNaN);
  on_threads(threads, scores.latents(), [&](int64_t unit) {
    if (is_live(scores, unit)) units.score[static_cast<size_t>(unit)] = top_share(scores.activity(unit), c);
  });
  finish(units);
  return units;
}

UnitConcept coloured_units(const ImageScores& original, const ImageScores& grey, double limit, int threads) {
  return by_index(original, grey, limit, colour_index, threads,
                  {"colour", fmt::format("colour index >= {:g}", limit), "colour index"});
}

UnitConcept oriented_units(const ImageScores& original, const ImageScores& mirrored, double limit,
                           int threads) {
  return by_index(original, mirrored, limit, orientation_index, threads,
                  {"orientation", fmt::format("orientation index >= {:g}", limit), "orientation index"});
}

}  // namespace branchsae
