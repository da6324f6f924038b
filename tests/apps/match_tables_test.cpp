// What `match` prints and writes of branches that no pair, or every pair, lies in.
#include "apps/match_tables.h"

#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "analysis/matching/match_report.h"

using namespace branchsae;

namespace {

constexpr const char* kNote = "odds ratio -: ";

/// Latent i lies in the branch of number[i], wholly.
BranchProfile profile_of(const std::vector<int32_t>& number) {
  BranchProfile profile{{"1x1", "3x3", "5x5"}, {0.25, 0.5, 0.25}, number, {}, {}};
  profile.share.assign(3, std::vector<double>(number.size()));
  for (size_t i = 0; i < number.size(); ++i) {
    profile.share[static_cast<size_t>(number[i])][i] = 1;
    profile.density.push_back(0.1 + 0.01 * static_cast<double>(i));
  }
  return profile;
}

/// Latent i of one side paired with latent i of the other.
struct Matched {
  Matched(const std::vector<int32_t>& left, const std::vector<int32_t>& right)
      : a{nullptr, profile_of(left), {}}, b{nullptr, profile_of(right), {}} {
    std::vector<LatentPair> pairs;
    for (int32_t i = 0; i < std::ssize(left); ++i) pairs.push_back({i, i, 0.9F});
    SimilarityMatch match{.name = "correlation"};
    match.pairings.push_back({"mutual best", pairs});
    match.pairings[0].agreement = branch_agreement(pairs, a.profile, b.profile, 99, 1);
    result.similarities.push_back(match);
    joined.layers = {"mixed4a", "mixed4b"};
    joined.living = {6, 6};
    joined.energy = {1, 1};
    joined.random_share = {0.5, 0.5};
    joined.between.push_back({"mixed4a", "mixed4b", pairs, match.pairings[0].agreement});
    joined.between[0].enriched = joined.between[0].agreement;
  }
  const Agreement& agreement() const { return *result.similarities[0].pairings[0].agreement; }

  MatchSide a, b;
  MatchResult result;
  JoinedResult joined;
};

/// The cells of a branch's line, from the odds ratio to the end of its interval.
bool has_dashes(const std::string& text, const std::string& branch) {
  const size_t line = text.find(" " + branch + " ");
  REQUIRE(line != std::string::npos);
  const std::string cells = text.substr(line, text.find('\n', line) - line);
  return cells.find(" to ") == std::string::npos;
}

}  // namespace

TEST_CASE("match: no odds ratio where no pair, or every pair, is in the branch on one side") {
  // 1x1: some of both sides; 3x3: of one side only; 5x5: of none.
  const Matched none({0, 0, 1, 1, 0, 1}, {0, 0, 0, 0, 0, 0});
  for (const BranchAgreement& one : none.agreement().of) {
    CAPTURE(one.branch);
    CHECK(one.in_branch.has_empty_margin());
    CHECK(std::isnan(one.odds.value));
    CHECK(std::isnan(one.odds.low));
    CHECK(std::isnan(one.odds.high));
    CHECK(one.fisher.two_sided == 1);
  }
  const Matched some({0, 0, 1, 1, 0, 1}, {0, 1, 1, 0, 0, 1});
  CHECK_FALSE(some.agreement().of[0].in_branch.has_empty_margin());
  CHECK(some.agreement().of[0].odds.value == odds_ratio({2, 1, 1, 2}).value);
  CHECK(std::isnan(some.agreement().of[2].odds.value));
}

TEST_CASE("match: a dash with a note in the table, null in the file") {
  const Matched some({0, 0, 1, 1, 0, 1}, {0, 1, 1, 0, 0, 1});
  for (const std::string& text : {apps::match_text(some.result), apps::joined_text(some.joined)}) {
    CAPTURE(text);
    CHECK(text.find(kNote) != std::string::npos);
    CHECK_FALSE(has_dashes(text, "1x1"));
    CHECK(has_dashes(text, "5x5"));
  }
  const auto json = nlohmann::json::parse(match_json(some.result, some.a, some.b, "{}"));
  const auto& branches = json["similarities"][0]["agreement"];
  CHECK(branches[0]["odds_ratio"].is_number());
  for (const char* field : {"odds_ratio", "low", "high"}) CHECK(branches[2][field].is_null());

  const Matched all({0, 0, 1, 1, 2, 2}, {0, 1, 1, 2, 2, 0});
  CHECK(apps::match_text(all.result).find(kNote) == std::string::npos);
  CHECK(apps::joined_text(all.joined).find(kNote) == std::string::npos);
}
