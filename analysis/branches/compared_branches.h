#pragma once
/// Which branches of a tap are compared with each other.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "analysis/branches/tap_branches.h"

namespace branchsae {

/// Of one layer its branches; of several layers the branches of one name taken together ("5x5" of all), or,
/// where that would leave one only, each layer's own.
struct ComparedBranches {
  std::vector<std::string> names;
  std::vector<int32_t> of;  ///< [tap's branches] which of the names each counts as

  /// values [tap's branches] -> sums [names].
  std::vector<double> sums(std::span<const double> values) const;
};

ComparedBranches compared_branches(const std::vector<TapBranch>& branches);

}  // namespace branchsae
