#pragma once
/// Which branch of which layer each channel of a tap comes from.
#include <string>
#include <vector>

#include "analysis/branches/shares.h"
#include "engine/graph.h"
#include "engine/taps.h"

namespace branchsae {

struct TapBranch {
  std::string layer, branch;  ///< "mixed4c", "5x5"; both the tensor's name where no block has it
  ChannelGroup group;         ///< named "5x5"; "mixed4c.5x5" when the tap joins several layers
};

/// In the order of the tap's channels, covering all of them. `tap` is resolved against `graph`.
std::vector<TapBranch> tap_branches(const Graph& graph, const Tap& tap);

/// Their groups alone.
std::vector<ChannelGroup> channel_groups(const std::vector<TapBranch>& branches);

/// Layers in order, each once.
std::vector<std::string> tap_layers(const std::vector<TapBranch>& branches);

}  // namespace branchsae
