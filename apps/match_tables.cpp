#include "apps/match_tables.h"

#include <fmt/format.h>

#include <cmath>

#include "apps/numbers.h"
#include "apps/table.h"

namespace branchsae::apps {
namespace {

using enum Table::Align;

std::string figure(double value, int digits = 3) {
  return std::isfinite(value) ? as_figure(value, digits) : "-";
}

std::string interval(double low, double high) {
  return std::isfinite(low) && std::isfinite(high) ? fmt::format("{} to {}", figure(low), figure(high)) : "-";
}

std::string count(int64_t value) {
  return with_separators(value);
}

Table same_branch_table(const std::string& first, const std::string& second) {
  return Table({{first},
                {second},
                {"branch of most"},
                {"pairs", kRight},
                {"same branch", kRight},
                {"by chance", kRight},
                {"p", kRight},
                {"q", kRight},
                {"kappa", kRight},
                {"Cramer's V", kRight},
                {"kappa of a random dictionary", kRight}});
}

std::vector<std::string> same_branch_row(const std::string& first, const std::string& second,
                                         const char* most, const Agreement& agreement,
                                         const std::optional<Agreement>& random) {
  return {first,
          second,
          most,
          count(agreement.pairs),
          count(static_cast<int64_t>(agreement.same.statistic)),
          figure(agreement.same.null_mean),
          figure(agreement.same.p),
          figure(agreement.same_q),
          figure(agreement.kappa),
          figure(agreement.chi.cramers_v),
          random ? figure(random->kappa) : "-"};
}

Table branch_table(const std::string& first, const std::string& second) {
  return Table({{first},
                {second},
                {"branch"},
                {"both", kRight},
                {"by chance", kRight},
                {"odds ratio", kRight},
                {"95 % CI"},
                {"Fisher p", kRight},
                {"q", kRight},
                {"Spearman", kRight},
                {"p", kRight},
                {"q", kRight}});
}

constexpr const char* kNoOdds =
    "odds ratio -: on one side no pair, or every pair, is in the branch; there is nothing to compare\n";

/// The tables of agreements, and what a dash in them means where there is one.
class AgreementTables {
 public:
  AgreementTables(const std::string& first, const std::string& second)
      : same_(same_branch_table(first, second)), branches_(branch_table(first, second)) {}

  void add_same(const std::string& first, const std::string& second, const char* most,
                const Agreement& agreement, const std::optional<Agreement>& random) {
    same_.row(same_branch_row(first, second, most, agreement, random));
  }
  void add_branches(const std::string& first, const std::string& second, const Agreement& agreement) {
    for (const BranchAgreement& one : agreement.of) {
      branches_.row({first, second, one.branch, count(one.in_branch.both), figure(one.both.null_mean),
                     figure(one.odds.value), interval(one.odds.low, one.odds.high),
                     figure(one.fisher.two_sided), figure(one.fisher_q), figure(one.shares.r),
                     figure(one.shares.p), figure(one.shares_q)});
      dash_ = dash_ || one.in_branch.has_empty_margin();
    }
  }
  bool empty() const { return same_.empty(); }
  std::string text() const {
    return fmt::format("\n{}\n{}{}", same_.text(), branches_.text(), dash_ ? kNoOdds : "");
  }

 private:
  Table same_, branches_;
  bool dash_ = false;
};

std::string counts_text(const Agreement& agreement) {
  std::vector<Table::Column> columns = {{"a in"}};
  for (const std::string& branch : agreement.branches)
    columns.push_back({fmt::format("b in {}", branch), kRight});
  Table table(columns);
  for (size_t i = 0; i < agreement.table.size(); ++i) {
    std::vector<std::string> row = {agreement.branches[i]};
    for (int64_t value : agreement.table[i]) row.push_back(count(value));
    table.row(row);
  }
  return table.text();
}

Table found_table(const MatchResult& result) {
  Table table({{"similarity"},
               {"pairing"},
               {"threshold", kRight},
               {"pairs", kRight},
               {"median", kRight},
               {"of even images", kRight},
               {"hold on odd", kRight},
               {"median there", kRight}});
  for (const SimilarityMatch& match : result.similarities) {
    for (const Pairing& pairing : match.pairings) {
      std::vector<float> r;
      for (const LatentPair& pair : pairing.pairs) r.push_back(pair.similarity);
      std::vector<std::string> row = {match.name, pairing.name, figure(match.threshold), count(std::ssize(r)),
                                      figure(median_similarity(r))};
      if (match.halves && &pairing == &match.pairings.front()) {
        row.push_back(count(std::ssize(match.halves->matched)));
        row.push_back(count(std::ssize(match.halves->hold)));
        row.push_back(figure(median_similarity(match.halves->held_out)));
      }
      table.row(row);
    }
  }
  return table;
}

}  // namespace

std::string match_text(const MatchResult& result) {
  std::string text = found_table(result).text();
  for (const SimilarityMatch& match : result.similarities) {
    if (!match.skipped.empty()) text += fmt::format("no {}: {}\n", match.name, match.skipped);
  }
  if (!result.no_agreement.empty())
    return text + fmt::format("branches are not compared: {}\n", result.no_agreement);
  AgreementTables tables("similarity", "pairing");
  for (const SimilarityMatch& match : result.similarities) {
    const auto add = [&](const std::string& name, const std::optional<Agreement>& agreement,
                         const std::optional<Agreement>& random) {
      if (!agreement) return;
      tables.add_same(match.name, name, "energy", *agreement, random);
      tables.add_branches(match.name, name, *agreement);
    };
    for (const Pairing& pairing : match.pairings) {
      add(pairing.name, pairing.agreement, pairing.random);
      if (!pairing.enriched) continue;
      tables.add_same(match.name, pairing.name, "enrichment", *pairing.enriched, pairing.random_enriched);
    }
    if (match.halves) add("held on odd images", match.halves->agreement, std::nullopt);
    add("shuffled channels", match.shuffled, std::nullopt);
  }
  text += tables.text();
  for (const SimilarityMatch& match : result.similarities) {
    if (match.pairings.empty() || !match.pairings.front().agreement) continue;
    text += fmt::format("\n{}, {}:\n{}", match.name, match.pairings.front().name,
                        counts_text(*match.pairings.front().agreement));
  }
  return text;
}

std::string joined_text(const JoinedResult& result) {
  Table living({{"layer"},
                {"features living in it", kRight},
                {"E|a|^2", kRight},
                {"share of a random dictionary", kRight}});
  for (size_t l = 0; l < result.layers.size(); ++l)
    living.row({result.layers[l], count(result.living[l]), figure(result.energy[l]),
                figure(result.random_share[l])});
  std::string text = living.text() + "\n";
  for (size_t number = 0; number < result.by_count.size(); ++number)
    text += fmt::format("{} of {} live features live in {} layers\n", count(result.by_count[number]),
                        count(result.live), number);
  AgreementTables tables("layer", "and layer");
  for (const JoinedLayers& layers : result.between) {
    if (!layers.agreement || layers.pairs.empty()) continue;
    tables.add_same(layers.a, layers.b, "energy", *layers.agreement, layers.random);
    tables.add_same(layers.a, layers.b, "enrichment", *layers.enriched, layers.random_enriched);
    tables.add_branches(layers.a, layers.b, *layers.agreement);
  }
  if (tables.empty())
    return text + "branches are not compared: no feature lives in two layers of several branches\n";
  return text + tables.text();
}

}  // namespace branchsae::apps
