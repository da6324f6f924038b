#include "analysis/matching/match_report.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

namespace branchsae {
namespace {

using Json = nlohmann::ordered_json;

Json number(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

Json name_or_null(const std::string& name) {
  return name.empty() ? Json(nullptr) : Json(name);
}

std::string csv_text(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + "\"";
}

/// One branch; what concerns all branches together stands in every entry, so that each can be read alone.
Json branch_json(const Agreement& all, const BranchAgreement& one) {
  return {
      {"branch", one.branch},
      {"pairs", all.pairs},
      {"in_branch",
       {{one.in_branch.both, one.in_branch.first_only}, {one.in_branch.second_only, one.in_branch.neither}}},
      {"odds_ratio", number(one.odds.value)},
      {"low", number(one.odds.low)},
      {"high", number(one.odds.high)},
      {"fisher_p", number(one.fisher.two_sided)},
      {"fisher_q", number(one.fisher_q)},
      {"both", one.in_branch.both},
      {"expected_both", number(one.both.null_mean)},
      {"both_p", number(one.both.p)},
      {"both_q", number(one.both_q)},
      {"spearman", number(one.shares.r)},
      {"spearman_p", number(one.shares.p)},
      {"spearman_q", number(one.shares_q)},
      {"kappa", number(all.kappa)},
      {"cramers_v", number(all.chi.cramers_v)},
      {"chi_p", number(all.chi.p)},
      {"chi_q", number(all.chi_q)},
      {"same_branch", number(all.same.statistic)},
      {"expected_same", number(all.same.null_mean)},
      {"expected_same_sd", number(all.same.null_sd)},
      {"expected_by_channels", number(all.by_channels)},
      {"permutation_p", number(all.same.p)},
      {"permutation_q", number(all.same_q)},
      {"rounds", all.same.rounds}};
}

Json agreement_json(const std::optional<Agreement>& agreement) {
  Json list = Json::array();
  if (!agreement) return list;
  for (const BranchAgreement& one : agreement->of) list.push_back(branch_json(*agreement, one));
  return list;
}

Json table_json(const std::optional<Agreement>& agreement) {
  if (!agreement) return nullptr;
  return {{"branches", agreement->branches}, {"counts", agreement->table}};
}

/// Without its corrected p: a control is no test of ours.
Json control_json(const std::optional<Agreement>& control) {
  if (!control) return nullptr;
  return {{"same_branch", number(control->same.statistic)},
          {"expected_same", number(control->same.null_mean)},
          {"kappa", number(control->kappa)},
          {"permutation_p", number(control->same.p)},
          {"counts", control->table}};
}

/// The same with each latent's most enriched branch in place of that of most energy.
Json enriched_json(const std::optional<Agreement>& agreement, const std::optional<Agreement>& control) {
  return {{"table", table_json(agreement)},
          {"agreement", agreement_json(agreement)},
          {"random_dictionary", control_json(control)}};
}

Json pair_json(const LatentPair& pair, const BranchProfile& a, const BranchProfile& b) {
  return {{"a", pair.a},
          {"b", pair.b},
          {"value", number(static_cast<double>(pair.similarity))},
          {"dominant_a", name_or_null(a.dominant_name(pair.a))},
          {"dominant_b", name_or_null(b.dominant_name(pair.b))}};
}

std::vector<float> similarities(const std::vector<LatentPair>& pairs) {
  std::vector<float> values;
  for (const LatentPair& pair : pairs) values.push_back(pair.similarity);
  return values;
}

Json halves_json(const SplitHalves& halves) {
  const auto matched = static_cast<double>(halves.matched.size());
  return {{"matched_on", "images of even number"},
          {"tested_on", "images of odd number"},
          {"threshold_even", number(halves.threshold_even)},
          {"threshold_odd", number(halves.threshold_odd)},
          {"pairs", halves.matched.size()},
          {"hold", halves.hold.size()},
          {"hold_share", number(static_cast<double>(halves.hold.size()) / matched)},
          {"still_best", halves.still_best},
          {"median_matched", number(median_similarity(similarities(halves.matched)))},
          {"median_held_out", number(median_similarity(halves.held_out))},
          {"table", table_json(halves.agreement)},
          {"agreement", agreement_json(halves.agreement)}};
}

Json pairing_json(const SimilarityMatch& match, const Pairing& pairing, const MatchSide& a,
                  const MatchSide& b) {
  Json pairs = Json::array();
  for (const LatentPair& pair : pairing.pairs) pairs.push_back(pair_json(pair, a.profile, b.profile));
  Json json{{"name", match.name},
            {"threshold", number(match.threshold)},
            {"above_threshold", match.above},
            {"pairing", pairing.name},
            {"count", pairing.pairs.size()},
            {"median", number(median_similarity(similarities(pairing.pairs)))},
            {"table", table_json(pairing.agreement)},
            {"agreement", agreement_json(pairing.agreement)},
            {"random_dictionary", control_json(pairing.random)},
            {"enriched", enriched_json(pairing.enriched, pairing.random_enriched)}};
  // Halves are matched by mutual best only: the other pairing would repeat nearly the same pairs.
  const bool halved = match.halves && pairing.name == "mutual best";
  json["split_halves"] = halved ? halves_json(*match.halves) : Json(nullptr);
  const bool shuffled = match.shuffled && pairing.name == "mutual best";
  json["shuffled_channels"] = shuffled ? agreement_json(match.shuffled) : Json(nullptr);
  json["pairs"] = std::move(pairs);
  return json;
}

}  // namespace

std::string match_json(const MatchResult& result, const MatchSide& a, const MatchSide& b,
                       const std::string& about) {
  Json json{{"about", Json::parse(about)}};
  json["about"]["images"] = result.images;
  json["about"]["tokens"] = result.tokens;
  json["about"]["labelled"] = result.labelled;
  json["about"]["classes"] = result.classes;
  json["about"]["live_a"] = result.live_a;
  json["about"]["live_b"] = result.live_b;
  json["no_agreement"] = name_or_null(result.no_agreement);
  json["skipped"] = Json::object();
  json["similarities"] = Json::array();
  for (const SimilarityMatch& match : result.similarities) {
    if (!match.skipped.empty()) json["skipped"][match.name] = match.skipped;
    for (const Pairing& pairing : match.pairings)
      json["similarities"].push_back(pairing_json(match, pairing, a, b));
  }
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string match_csv(const MatchResult& result, const MatchSide& a, const MatchSide& b) {
  std::string text = "similarity,pairing,a,b,value,dominant_a,dominant_b,density_a,density_b\n";
  for (const SimilarityMatch& match : result.similarities) {
    for (const Pairing& pairing : match.pairings) {
      for (const LatentPair& pair : pairing.pairs) {
        text += fmt::format(
            "{},{},{},{},{},{},{},{},{}\n", match.name, pairing.name, pair.a, pair.b, pair.similarity,
            csv_text(a.profile.dominant_name(pair.a)), csv_text(b.profile.dominant_name(pair.b)),
            a.profile.density[static_cast<size_t>(pair.a)], b.profile.density[static_cast<size_t>(pair.b)]);
      }
    }
  }
  return text;
}

std::string joined_json(const JoinedResult& result, const std::string& about) {
  Json json{{"about", Json::parse(about)}, {"live", result.live}, {"layers", Json::array()}};
  for (size_t l = 0; l < result.layers.size(); ++l) {
    json["layers"].push_back({{"layer", result.layers[l]},
                              {"energy", number(result.energy[l])},
                              {"living", result.living[l]},
                              {"random_share", number(result.random_share[l])},
                              {"branches", result.profiles[l].branches}});
  }
  json["living_in"] = result.by_count;
  json["between"] = Json::array();
  for (const JoinedLayers& layers : result.between) {
    json["between"].push_back({{"a", layers.a},
                               {"b", layers.b},
                               {"features", layers.pairs.size()},
                               {"table", table_json(layers.agreement)},
                               {"agreement", agreement_json(layers.agreement)},
                               {"random_dictionary", control_json(layers.random)},
                               {"enriched", enriched_json(layers.enriched, layers.random_enriched)}});
  }
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string joined_csv(const JoinedResult& result) {
  std::string text = "id,density";
  for (const std::string& layer : result.layers)
    text += fmt::format(",{},{}", csv_text(layer + " share"), csv_text(layer + " branch"));
  text += "\n";
  for (size_t i = 0; i < result.layer_share.front().size(); ++i) {
    text += fmt::format("{},{}", i, result.profiles.front().density[i]);
    for (size_t l = 0; l < result.layers.size(); ++l) {
      text += fmt::format(",{},{}", result.layer_share[l][i],
                          csv_text(result.profiles[l].dominant_name(static_cast<int32_t>(i))));
    }
    text += "\n";
  }
  return text;
}

}  // namespace branchsae
