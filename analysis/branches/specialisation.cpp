#include "analysis/branches/specialisation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>

#include "analysis/statistics/counts.h"
#include "analysis/statistics/false_discovery.h"
#include "analysis/statistics/information.h"
#include "analysis/statistics/intervals.h"
#include "analysis/statistics/permuted_sums.h"
#include "analysis/statistics/ranks.h"
#include "engine/error.h"

namespace branchsae {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr const char* kAgainst = " against ";

/// A subject's columns: for every branch whether a unit is localised there, the rank of its share, whether it
/// is the dominant one.
class Profiles {
 public:
  Profiles(const BranchSubject& subject, double localised)
      : units_(subject.units.size()), branches_(subject.branches.size()), values_(units_ * 3 * branches_) {
    std::vector<double> share(units_);
    for (size_t b = 0; b < branches_; ++b) {
      for (size_t i = 0; i < units_; ++i) share[i] = subject.share[i * branches_ + b];
      const std::vector<double> rank = mid_ranks(share);
      for (size_t i = 0; i < units_; ++i) {
        at(i, b) = share[i] >= localised ? 1 : 0;
        at(i, branches_ + b) = rank[i];
      }
    }
    for (size_t i = 0; i < units_; ++i) {
      const auto first = subject.share.begin() + static_cast<std::ptrdiff_t>(i * branches_);
      const auto best = std::max_element(first, first + static_cast<std::ptrdiff_t>(branches_)) - first;
      at(i, 2 * branches_ + static_cast<size_t>(best)) = 1;
    }
  }
  double& at(size_t unit, size_t column) { return values_[unit * 3 * branches_ + column]; }
  std::vector<double> column(size_t column) const {
    std::vector<double> values;
    for (size_t i = 0; i < units_; ++i) values.push_back(values_[i * 3 * branches_ + column]);
    return values;
  }
  View<const double, 2> view() const {
    return {values_.data(), {static_cast<int64_t>(units_), static_cast<int64_t>(3 * branches_)}};
  }

 private:
  size_t units_, branches_;
  std::vector<double> values_;
};

/// A concept seen by the units that count.
struct ConceptUnits {
  std::vector<uint8_t> positive;
  std::vector<double> score_rank;  ///< less its mean; 0 where there is no score
  double score_norm = 0;           ///< square root of the sum of its squares
  int64_t scored = 0, positives = 0;
  std::vector<uint8_t> has_score;
};

ConceptUnits select(const BranchSubject& subject, const UnitConcept& units) {
  ConceptUnits result;
  std::vector<double> scores;
  for (const int64_t unit : subject.units) {
    const auto at = static_cast<size_t>(unit);
    result.positive.push_back(units.positive.at(at));
    result.positives += units.positive[at];
    result.has_score.push_back(std::isnan(units.score.at(at)) ? 0 : 1);
    if (result.has_score.back() != 0) scores.push_back(units.score[at]);
  }
  result.scored = std::ssize(scores);
  const std::vector<double> ranks = mid_ranks(scores);
  const double mean = (static_cast<double>(result.scored) + 1) / 2;
  size_t next = 0;
  for (const uint8_t has : result.has_score) {
    result.score_rank.push_back(has != 0 ? ranks[next++] - mean : 0);
    result.score_norm += result.score_rank.back() * result.score_rank.back();
  }
  result.score_norm = std::sqrt(result.score_norm);
  return result;
}

std::vector<PermutedWeight> weights_of(const std::vector<ConceptUnits>& concepts, int64_t branches) {
  std::vector<PermutedWeight> weights;
  for (const ConceptUnits& one : concepts) {
    weights.push_back({{one.positive.begin(), one.positive.end()}, 0, 3 * branches});
    weights.push_back({one.score_rank, branches, 2 * branches});
  }
  return weights;
}

/// All tests of one subject.
class Tester {
 public:
  Tester(const BranchSubject& subject, std::span<const UnitConcept> concepts,
         const SpecialisationOptions& options)
      : subject_(subject), names_(concepts), profiles_(subject, options.localised) {
    for (const UnitConcept& one : concepts) concepts_.push_back(select(subject, one));
    for (size_t b = 0; b < branches(); ++b) {
      localised_.push_back(profiles_.column(b));
      rank_.push_back(profiles_.column(branches() + b));
      dominant_.push_back(profiles_.column(2 * branches() + b));
    }
    const Strata strata = Strata::by_quantile(subject.density, options.strata);
    sums_.emplace(strata, profiles_.view(), weights_of(concepts_, std::ssize(subject.branches)),
                  options.rounds, options.seed, options.threads);
  }

  std::vector<SpecialisationTest> run() {
    for (size_t c = 0; c < concepts_.size(); ++c) {
      const int64_t positives = concepts_[c].positives;
      if (positives > 0 && positives < units()) {
        count_tests(c);
        rank_tests(c);
        information_test(c);
      }
      for (size_t b = 0; b < branches(); ++b) spearman_test(c, b);
    }
    return std::move(tests_);
  }

 private:
  size_t branches() const { return subject_.branches.size(); }
  int64_t units() const { return std::ssize(subject_.units); }
  double positive_sum(int64_t round, size_t c, size_t column) const {
    return sums_->at(round, 2 * c, static_cast<int64_t>(column));
  }

  SpecialisationTest& add(size_t c, std::string branch, std::string test, const char* effect) {
    SpecialisationTest one;
    one.concept_name = names_[c].name;
    one.branch = std::move(branch);
    one.subject = subject_.name;
    one.test = std::move(test);
    one.effect = effect;
    one.n = units();
    one.positives = concepts_[c].positives;
    one.null_mean = one.null_sd = kNaN;
    tests_.push_back(std::move(one));
    return tests_.back();
  }
  static void set(SpecialisationTest& test, const PermutationTest& permuted) {
    test.p = permuted.p;
    test.rounds = permuted.rounds;
    test.null_mean = permuted.null_mean;
    test.null_sd = permuted.null_sd;
  }
  static void set(SpecialisationTest& test, double value, const Interval& interval) {
    test.value = value;
    test.low = interval.low;
    test.high = interval.high;
  }

  FourFold table(size_t c, size_t b) const {
    FourFold counts;
    for (size_t i = 0; i < subject_.units.size(); ++i) {
      const bool in = localised_[b][i] != 0, positive = concepts_[c].positive[i] != 0;
      ++(in ? (positive ? counts.both : counts.first_only)
            : (positive ? counts.second_only : counts.neither));
    }
    return counts;
  }

  void count_tests(size_t c) {
    for (size_t b = 0; b < branches(); ++b) {
      const FourFold counts = table(c, b);
      const OddsRatio odds = counts.has_empty_margin() ? OddsRatio{kNaN, kNaN, kNaN} : odds_ratio(counts);
      for (const char* name : {"fisher", "overlap"}) {
        SpecialisationTest& test = add(c, subject_.branches[b], name, "odds ratio");
        set(test, odds.value, {odds.low, odds.high});
        test.localised = counts.both + counts.first_only;
        test.both = counts.both;
      }
      tests_[tests_.size() - 2].p = fisher_exact(counts).greater.p;
      set(tests_.back(), sums_->test([&](int64_t round) { return positive_sum(round, c, b); }));
    }
  }

  double auroc(int64_t round, size_t c, size_t b) const {
    const auto n1 = static_cast<double>(concepts_[c].positives), n0 = static_cast<double>(units()) - n1;
    return (positive_sum(round, c, branches() + b) - n1 * (n1 + 1) / 2) / (n1 * n0);
  }

  void rank_tests(size_t c) {
    std::vector<Placements> places;
    for (size_t b = 0; b < branches(); ++b) {
      places.push_back(placements(rank_[b], concepts_[c].positive));
      SpecialisationTest& test = add(c, subject_.branches[b], "auroc", "AUROC");
      const double value = auroc(0, c, b);
      Interval interval = normal_interval(value, std::sqrt(auroc_covariance(places[b], places[b])));
      set(test, value, {std::max(interval.low, 0.0), std::min(interval.high, 1.0)});
      set(test, sums_->test([&](int64_t round) { return auroc(round, c, b); }));
    }
    for (size_t a = 0; a < branches(); ++a) {
      for (size_t b = 0; b < branches(); ++b) {
        if (a != b) difference_test(c, a, b, places);
      }
    }
  }

  void difference_test(size_t c, size_t a, size_t b, const std::vector<Placements>& places) {
    const std::string& name = subject_.branches[a];
    SpecialisationTest& test = add(c, name, name + kAgainst + subject_.branches[b], "difference of AUROC");
    const double variance = auroc_covariance(places[a], places[a]) + auroc_covariance(places[b], places[b]) -
                            2 * auroc_covariance(places[a], places[b]);
    const auto value = [&](int64_t round) { return auroc(round, c, a) - auroc(round, c, b); };
    set(test, value(0), normal_interval(value(0), std::sqrt(std::max(variance, 0.0))));
    set(test, sums_->test(value));
  }

  void information_test(size_t c) {
    CountTable counts(branches(), std::vector<int64_t>(2));
    std::vector<int64_t> whole(branches());
    for (size_t b = 0; b < branches(); ++b) {
      for (const double is : dominant_[b]) whole[b] += static_cast<int64_t>(is);
    }
    const auto fill = [&](int64_t round) -> const CountTable& {
      for (size_t b = 0; b < branches(); ++b) {
        counts[b][1] = std::llround(positive_sum(round, c, 2 * branches() + b));
        counts[b][0] = whole[b] - counts[b][1];
      }
      return counts;
    };
    SpecialisationTest& test = add(c, "all", "mutual information", "bits");
    const double value = mutual_information_bits(fill(0));
    set(test, value, normal_interval(value, mutual_information_deviation(counts)));
    set(test, sums_->test([&](int64_t round) { return mutual_information_bits(fill(round)); }));
  }

  void spearman_test(size_t c, size_t b) {
    const ConceptUnits& units = concepts_[c];
    double sum = 0, squares = 0;
    for (size_t i = 0; i < rank_[b].size(); ++i) {
      if (units.has_score[i] == 0) continue;
      sum += rank_[b][i];
      squares += rank_[b][i] * rank_[b][i];
    }
    const double norm =
        units.score_norm * std::sqrt(std::max(0.0, squares - sum * sum / static_cast<double>(units.scored)));
    if (units.scored < 2 || norm == 0) return;
    SpecialisationTest& test = add(c, subject_.branches[b], "spearman", "Spearman's r");
    const auto value = [&](int64_t round) {
      return sums_->at(round, 2 * c + 1, static_cast<int64_t>(b)) / norm;
    };
    test.n = units.scored;
    set(test, value(0), spearman_interval(value(0), units.scored));
    set(test, sums_->test(value));
  }

  const BranchSubject& subject_;
  std::span<const UnitConcept> names_;
  Profiles profiles_;
  std::vector<ConceptUnits> concepts_;
  std::vector<std::vector<double>> localised_, rank_, dominant_;  ///< [branches][units]
  std::optional<PermutedSums> sums_;
  std::vector<SpecialisationTest> tests_;
};

}  // namespace

BranchSubject branch_subject(std::string name, const ComparedBranches& branches,
                             std::span<const LatentShares> latents, std::span<const int32_t> cluster,
                             const ImageScores& scores) {
  if (latents.size() != cluster.size() || std::ssize(latents) != scores.latents())
    throw ShapeError(
        fmt::format("{} units, {} clusters, scores of {}", latents.size(), cluster.size(), scores.latents()));
  std::map<int32_t, int64_t> most;  // by cluster: its unit that fired most
  for (size_t i = 0; i < latents.size(); ++i) {
    const auto unit = static_cast<int64_t>(i);
    if (cluster[i] < 0 || latents[i].dominant < 0 || scores.activity(unit).images.empty()) continue;
    const auto [held, is_new] = most.try_emplace(cluster[i], unit);
    if (!is_new && scores.activity(unit).tokens_fired > scores.activity(held->second).tokens_fired)
      held->second = unit;
  }
  BranchSubject subject{std::move(name), branches.names, {}, {}, {}};
  for (const auto& [first, unit] : most) subject.units.push_back(unit);
  std::ranges::sort(subject.units);
  for (const int64_t unit : subject.units) {
    std::vector<double> energy;
    for (const BranchShare& share : latents[static_cast<size_t>(unit)].branches)
      energy.push_back(share.energy);
    for (const double share : branches.sums(energy)) subject.share.push_back(share);
    subject.density.push_back(static_cast<double>(scores.activity(unit).tokens_fired));
  }
  return subject;
}

std::string SpecialisationTest::family() const {
  return test.find(kAgainst) == std::string::npos ? test : "against";
}

std::vector<SpecialisationTest> specialisation_tests(const BranchSubject& subject,
                                                     std::span<const UnitConcept> concepts,
                                                     const SpecialisationOptions& options) {
  if (subject.units.size() < 2 || subject.branches.size() < 2 || concepts.empty()) return {};
  return Tester(subject, concepts, options).run();
}

void adjust(std::vector<SpecialisationTest>& tests) {
  std::map<std::pair<std::string, std::string>, std::vector<size_t>> families;
  for (size_t i = 0; i < tests.size(); ++i) families[{tests[i].subject, tests[i].family()}].push_back(i);
  for (const auto& [key, members] : families) {
    std::vector<double> p;
    for (const size_t i : members) p.push_back(tests[i].p);
    const std::vector<double> q = benjamini_hochberg(p);
    for (size_t i = 0; i < members.size(); ++i) {
      tests[members[i]].q = q[i];
      tests[members[i]].correction =
          fmt::format("Benjamini-Hochberg over {} tests: {}, {}, every branch and concept of this tap",
                      members.size(), key.second, key.first);
    }
  }
}

}  // namespace branchsae
