#include "apps/match_tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "apps/numbers.h"
#include "apps/table.h"

namespace branchsae::apps {
namespace {

using enum Table::Align;

std::string figure(double value, int digits = 3) {
  return std::isfinite(value) ? as_figure(value, digits) : "-";
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

void add_branches(Table& table, const std::string& first, const std::string& second,
                  const Agreement& agreement) {
  for (const BranchAgreement& one : agreement.of) {
    table.row({first, second, one.branch, count(one.in_branch.both), figure(one.both.null_mean),
               figure(one.odds.value), fmt::format("{} to {}", figure(one.odds.low), figure(one.odds.high)),
               figure(one.fisher.two_sided), figure(one.fisher_q), figure(one.shares.r), figure(one.shares.p),
               figure(one.shares_q)});
  }
}

std::string counts_text(const Agreement& agreement) {
  std::vector<Table::Column> columns = {{"a in"}};
  for (const std::string& branch : agreement.branches) columns.push_back({"b in " + branch, kRight});
  Table table(columns);
  for (size_t i = 0; i < agreement.table.size(); ++i) {
    std::vector<std::string> row = {agreement.branches[i]};
    for (int64_t value : agreement.table[i]) row.push_back(count(value));
    table.row(row);
  }
  return table.text();
}

double median(std::vector<float> values) {
  if (values.empty()) return std::nan("");
  const auto middle = values.begin() + std::ssize(values) / 2;
  std::ranges::nth_element(values, middle);
  return static_cast<double>(*middle);
}

Table found_table(const MatchResult& result) {
  Table table({{"similarity"},
               {"pairing"},
               {"threshold", kRight},
               {"pairs", kRight},
               {"median r", kRight},
               {"of even images", kRight},
               {"hold on odd", kRight},
               {"median r there", kRight}});
  for (const SimilarityMatch& match : result.similarities) {
    for (const Pairing& pairing : match.pairings) {
      std::vector<float> r;
      for (const LatentPair& pair : pairing.pairs) r.push_back(pair.similarity);
      std::vector<std::string> row = {match.name, pairing.name, figure(match.threshold), count(std::ssize(r)),
                                      figure(median(r))};
      if (&pairing == &match.pairings.front()) {
        row.push_back(count(std::ssize(match.halves.matched)));
        row.push_back(count(std::ssize(match.halves.hold)));
        row.push_back(figure(median(match.halves.held_out)));
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
  Table same = same_branch_table("similarity", "pairing"), branches = branch_table("similarity", "pairing");
  for (const SimilarityMatch& match : result.similarities) {
    const auto add = [&](const std::string& name, const std::optional<Agreement>& agreement,
                         const std::optional<Agreement>& random) {
      if (!agreement) return;
      same.row(same_branch_row(match.name, name, "energy", *agreement, random));
      add_branches(branches, match.name, name, *agreement);
    };
    for (const Pairing& pairing : match.pairings) {
      add(pairing.name, pairing.agreement, pairing.random);
      if (!pairing.enriched) continue;
      same.row(same_branch_row(match.name, pairing.name, "enrichment", *pairing.enriched,
                               pairing.random_enriched));
    }
    add("held on odd images", match.halves.agreement, std::nullopt);
  }
  text += "\n" + same.text() + "\n" + branches.text();
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
  Table same = same_branch_table("layer", "and layer"), branches = branch_table("layer", "and layer");
  for (const JoinedLayers& layers : result.between) {
    if (!layers.agreement || layers.pairs.empty()) continue;
    same.row(same_branch_row(layers.a, layers.b, "energy", *layers.agreement, layers.random));
    same.row(same_branch_row(layers.a, layers.b, "enrichment", *layers.enriched, layers.random_enriched));
    add_branches(branches, layers.a, layers.b, *layers.agreement);
  }
  if (same.empty())
    return text + "branches are not compared: no feature lives in two layers of several branches\n";
  return text + "\n" + same.text() + "\n" + branches.text();
}

}  // namespace branchsae::apps
