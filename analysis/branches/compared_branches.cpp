#include "analysis/branches/compared_branches.h"

#include <algorithm>

namespace branchsae {
namespace {

template <class Name>
ComparedBranches named(const std::vector<TapBranch>& branches, const Name& name) {
  ComparedBranches result;
  for (const TapBranch& branch : branches) {
    const auto found = std::ranges::find(result.names, name(branch));
    result.of.push_back(static_cast<int32_t>(found - result.names.begin()));
    if (found == result.names.end()) result.names.push_back(name(branch));
  }
  return result;
}

}  // namespace

std::vector<double> ComparedBranches::sums(std::span<const double> values) const {
  std::vector<double> result(names.size());
  for (size_t i = 0; i < values.size(); ++i) result[static_cast<size_t>(of[i])] += values[i];
  return result;
}

ComparedBranches compared_branches(const std::vector<TapBranch>& branches) {
  ComparedBranches kinds = named(branches, [](const TapBranch& b) { return b.branch; });
  return kinds.names.size() > 1 ? kinds : named(branches, [](const TapBranch& b) { return b.group.name; });
}

}  // namespace branchsae
