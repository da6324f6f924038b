#pragma once
/// The files of `match`. docs/formats.md lists the fields.
#include <string>

#include "analysis/matching/joined.h"
#include "analysis/matching/match.h"

namespace branchsae {

/// match.json: an object with `similarities`. about: a JSON object put at the top as `about`.
std::string match_json(const MatchResult& result, const MatchSide& a, const MatchSide& b,
                       const std::string& about);
/// The pairs as comma-separated values, one line a pair.
std::string match_csv(const MatchResult& result, const MatchSide& a, const MatchSide& b);

/// The same of a joined tap: an object with `layers` and `between`.
std::string joined_json(const JoinedResult& result, const std::string& about);
/// One line a feature: its share of every layer, and its dominant branch there.
std::string joined_csv(const JoinedResult& result);

}  // namespace branchsae
