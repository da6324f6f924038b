#include "analysis/branches/tap_branches.h"

#include <algorithm>

namespace branchsae {
namespace {

/// Channels [begin, end) of a value that one branch computes; empty when it has none of them.
struct Range {
  int64_t begin = 0, end = 0;
};

Range in_value(const Block& block, const Branch& branch, ValueId value) {
  const bool side_by_side =
      value == block.value || (value == branch.pre_value && branch.value == block.value);
  if (side_by_side) return {branch.begin, branch.end};
  if (value == branch.value || value == branch.pre_value) return {0, branch.end - branch.begin};
  return {};
}

void add_part(const Graph& graph, const TapPart& part, int64_t& next, std::vector<TapBranch>& result) {
  const size_t before = result.size();
  for (const Block& block : graph.blocks) {
    for (const Branch& branch : block.branches) {
      const Range range = in_value(block, branch, part.value);
      const int64_t begin = std::max(range.begin, part.begin), end = std::min(range.end, part.end);
      if (begin >= end) continue;
      result.push_back({block.name, branch.name, {branch.name, next + begin - part.begin, end - begin}});
    }
  }
  if (result.size() == before) {
    const std::string& name = graph.value(part.value).name;
    result.push_back({name, name, {name, next, part.end - part.begin}});
  }
  next += part.end - part.begin;
}

}  // namespace

std::vector<TapBranch> tap_branches(const Graph& graph, const Tap& tap) {
  std::vector<TapBranch> branches;
  int64_t next = 0;
  for (const TapPart& part : tap.parts) add_part(graph, part, next, branches);
  if (tap_layers(branches).size() > 1) {
    for (TapBranch& branch : branches) {
      if (branch.layer != branch.branch) branch.group.name = branch.layer + "." + branch.branch;
    }
  }
  return branches;
}

std::vector<ChannelGroup> channel_groups(const std::vector<TapBranch>& branches) {
  std::vector<ChannelGroup> groups;
  for (const TapBranch& branch : branches) groups.push_back(branch.group);
  return groups;
}

std::vector<std::string> tap_layers(const std::vector<TapBranch>& branches) {
  std::vector<std::string> layers;
  for (const TapBranch& branch : branches) {
    if (std::ranges::find(layers, branch.layer) == layers.end()) layers.push_back(branch.layer);
  }
  return layers;
}

}  // namespace branchsae
