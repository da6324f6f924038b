#pragma once
/// What `match` prints.
#include <string>

#include "analysis/matching/joined.h"
#include "analysis/matching/match.h"

namespace branchsae::apps {

/// Pairs found, their branches, and what of them holds on the other half of the images.
std::string match_text(const MatchResult& result);

/// Where the features of a joined tap live, and whether they keep their branch.
std::string joined_text(const JoinedResult& result);

}  // namespace branchsae::apps
