#include "analysis/matching/match.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <set>

#include "analysis/matching/correlation.h"
#include "engine/error.h"

namespace branchsae {
namespace {

/// One similarity on some of the images: as they are, and with b's images (of weights: a's channels)
/// shuffled.
struct Comparison {
  std::vector<std::unique_ptr<CodeStore>> owned;  // what the correlations read, where it is not the sides'
  std::unique_ptr<LatentSimilarity> real, null;
};

/// On these images.
using Compare = std::function<Comparison(const ImagePairing&)>;

Comparison compare_codes(const MatchSide& a, const MatchSide& b, const ImagePairing& images, uint64_t seed) {
  return {{},
          std::make_unique<CodeCorrelation>(*a.codes, *b.codes, images),
          std::make_unique<CodeCorrelation>(*a.codes, *b.codes, shuffled_images(images, seed))};
}

Comparison compare_profiles(const MatchSide& a, const MatchSide& b, const ImagePairing& images,
                            std::span<const int32_t> class_of, uint64_t seed) {
  std::vector<int32_t> labelled, shuffled(class_of.begin(), class_of.end());
  for (int32_t image : images.a) {
    if (class_of[static_cast<size_t>(image)] >= 0) labelled.push_back(image);
  }
  const ImagePairing moved = shuffled_images({labelled, labelled}, seed);
  for (size_t t = 0; t < labelled.size(); ++t)
    shuffled[static_cast<size_t>(moved.a[t])] = class_of[static_cast<size_t>(moved.b[t])];
  Comparison result;
  const auto own = [&](const MatchSide& side, std::span<const int32_t> classes) -> const CodeStore& {
    result.owned.push_back(std::make_unique<CodeStore>(class_profiles(*side.codes, labelled, classes)));
    return *result.owned.back();
  };
  const CodeStore &left = own(a, class_of), &right = own(b, class_of), &null = own(b, shuffled);
  const ImagePairing classes = same_images(left.images());
  result.real = std::make_unique<CodeCorrelation>(left, right, classes);
  result.null = std::make_unique<CodeCorrelation>(left, null, classes);
  return result;
}

std::vector<uint8_t> fires(const CodeStore& codes) {
  std::vector<uint8_t> live;
  for (const int64_t count : codes.fired()) live.push_back(count > 0 ? 1 : 0);
  return live;
}

Comparison compare_weights(const MatchSide& a, const MatchSide& b, const VirtualWeights& weights,
                           uint64_t seed) {
  const auto similarity = [&](std::optional<uint64_t> shuffle) {
    return std::make_unique<WeightSimilarity>(weights, fires(*a.codes), fires(*b.codes), shuffle);
  };
  return {{}, similarity(std::nullopt), similarity(seed)};
}

/// One pass of one similarity over two sides.
class Matcher {
 public:
  Matcher(const MatchSide& a, const MatchSide& b, const MatchOptions& options, bool agreements)
      : a_(a), b_(b), options_(options), agreements_(agreements) {}

  /// By what the codes of the images say; tried on halves of them too.
  SimilarityMatch run(const std::string& name, const Compare& compare, int64_t images) const {
    SimilarityMatch match = run(name, compare(same_images(images)));
    match.halves = split(compare, images);
    return match;
  }

  SimilarityMatch run_weights(const Comparison& all) const {
    SimilarityMatch match = run(kByVirtualWeight, all);
    const auto by_chance = find_pairs(*all.null, options_.threads, match.threshold).mutual;
    if (agreements_) match.shuffled = as_control(*agreement_of(by_chance, a_.profile, b_.profile));
    return match;
  }

 private:
  SimilarityMatch run(const std::string& name, const Comparison& all) const {
    SimilarityMatch match{.name = name, .threshold = threshold_of(all)};
    PairSearch found = find_pairs(*all.real, options_.threads, match.threshold);
    match.above = std::ssize(found.candidates);
    match.pairings.push_back({.name = "mutual best", .pairs = std::move(found.mutual)});
    match.pairings.push_back(
        {.name = "one to one", .pairs = one_to_one(found.candidates, all.real->rows(), all.real->columns())});
    for (Pairing& pairing : match.pairings) {
      pairing.agreement = agreement_of(pairing.pairs, a_.profile, b_.profile);
      pairing.random = agreement_of(pairing.pairs, a_.random, b_.random);
      pairing.enriched = agreement_of(pairing.pairs, by_enrichment(a_.profile), by_enrichment(b_.profile));
      pairing.random_enriched =
          agreement_of(pairing.pairs, by_enrichment(a_.random), by_enrichment(b_.random));
    }
    return match;
  }

  double threshold_of(const Comparison& comparison) const {
    return similarity_quantile(*comparison.null, options_.threads, options_.quantile);
  }

  std::optional<Agreement> agreement_of(std::span<const LatentPair> pairs, const BranchProfile& a,
                                        const BranchProfile& b) const {
    if (!agreements_) return std::nullopt;
    return branch_agreement(pairs, a, b, options_.rounds, options_.seed);
  }

  SplitHalves split(const Compare& compare, int64_t images) const {
    SplitHalves halves;
    {
      const Comparison even = compare(half_of_images(images, false));
      halves.threshold_even = threshold_of(even);
      halves.matched = find_pairs(*even.real, options_.threads, halves.threshold_even).mutual;
    }
    const Comparison odd = compare(half_of_images(images, true));
    halves.threshold_odd = threshold_of(odd);
    PairSearch tried = find_pairs(*odd.real, options_.threads, halves.threshold_odd, halves.matched);
    halves.held_out = std::move(tried.watched);
    for (size_t i = 0; i < halves.matched.size(); ++i) {
      const LatentPair pair{halves.matched[i].a, halves.matched[i].b, halves.held_out[i]};
      if (static_cast<double>(pair.similarity) > halves.threshold_odd) halves.hold.push_back(pair);
      halves.still_best += std::ranges::count(tried.mutual, pair);
    }
    halves.agreement = agreement_of(halves.hold, a_.profile, b_.profile);
    return halves;
  }

  const MatchSide& a_;
  const MatchSide& b_;
  const MatchOptions& options_;
  bool agreements_;
};

int64_t count_classes(std::span<const int32_t> class_of, bool odd) {
  std::set<int32_t> classes;
  for (size_t image = odd ? 1 : 0; image < class_of.size(); image += 2) {
    if (class_of[image] >= 0) classes.insert(class_of[image]);
  }
  return std::ssize(classes);
}

/// Why codes cannot be correlated; empty when they can.
std::string no_correlation(const MatchSide& a, const MatchSide& b) {
  if (a.codes->positions() == b.codes->positions()) return "";
  return fmt::format("the taps have different grids, of {} and {} positions", a.codes->positions(),
                     b.codes->positions());
}

/// Why class profiles cannot be had; empty when they can.
std::string no_profiles(std::span<const int32_t> class_of) {
  if (class_of.empty()) return "the images have no labels";
  for (const bool odd : {false, true}) {
    if (const int64_t classes = count_classes(class_of, odd); classes < 2) {
      return fmt::format("the {} half of the images has {} labelled classes; 2 are needed",
                         odd ? "odd" : "even", classes);
    }
  }
  return "";
}

void correct_all(MatchResult& result) {
  std::vector<Agreement*> agreements;
  for (SimilarityMatch& match : result.similarities) {
    for (Pairing& pairing : match.pairings) {
      for (std::optional<Agreement>* one : {&pairing.agreement, &pairing.enriched}) {
        if (*one) agreements.push_back(&**one);
      }
    }
    if (match.halves && match.halves->agreement) agreements.push_back(&*match.halves->agreement);
  }
  correct(agreements);
}

void check_sides(const MatchSide& a, const MatchSide& b, std::span<const int32_t> class_of) {
  const int64_t images = a.codes->images();
  if (images != b.codes->images())
    throw InputError(fmt::format("codes of {} images beside {}: the sides must have seen the same", images,
                                 b.codes->images()));
  if (images < kLeastMatchImages)
    throw InputError(
        fmt::format("{} images: at least {} are needed to match features", images, kLeastMatchImages));
  if (!class_of.empty() && std::ssize(class_of) != images)
    throw ShapeError(fmt::format("{} classes for {} images", class_of.size(), images));
}

int64_t live(const CodeStore& codes) {
  return std::ranges::count(fires(codes), 1);
}

/// The similarities that were asked for, each with its pairs or with why there are none.
std::vector<SimilarityMatch> compare_all(const MatchSide& a, const MatchSide& b,
                                         std::span<const int32_t> class_of, const VirtualWeights& weights,
                                         const Matcher& matcher, const MatchOptions& options) {
  const int64_t images = a.codes->images();
  std::vector<SimilarityMatch> matches;
  const auto add = [&](const char* name, const std::string& missing, const auto& compare) {
    if (std::ranges::find(options.similarities, name) == options.similarities.end()) return;
    if (!missing.empty())
      matches.push_back({.name = name, .skipped = missing});
    else
      matches.push_back(compare(name));
  };
  add(kByCorrelation, no_correlation(a, b), [&](const char* name) {
    return matcher.run(
        name, [&](const ImagePairing& some) { return compare_codes(a, b, some, options.seed); }, images);
  });
  add(kByClassProfile, no_profiles(class_of), [&](const char* name) {
    return matcher.run(
        name, [&](const ImagePairing& some) { return compare_profiles(a, b, some, class_of, options.seed); },
        images);
  });
  add(kByVirtualWeight, weights.missing,
      [&](const char*) { return matcher.run_weights(compare_weights(a, b, weights, options.seed)); });
  return matches;
}

}  // namespace

MatchResult match_codes(const MatchSide& a, const MatchSide& b, std::span<const int32_t> class_of,
                        const VirtualWeights& weights, const MatchOptions& options) {
  check_sides(a, b, class_of);
  MatchResult result{.images = a.codes->images(), .tokens = a.codes->tokens()};
  result.labelled = std::ranges::count_if(class_of, [](int32_t label) { return label >= 0; });
  result.classes = std::ssize(std::set<int32_t>(class_of.begin(), class_of.end())) -
                   (result.labelled < std::ssize(class_of) ? 1 : 0);
  result.live_a = live(*a.codes);
  result.live_b = live(*b.codes);
  result.no_agreement = incomparable(a.profile, b.profile);
  const Matcher matcher(a, b, options, result.no_agreement.empty());
  result.similarities = compare_all(a, b, class_of, weights, matcher, options);
  correct_all(result);
  return result;
}

}  // namespace branchsae
