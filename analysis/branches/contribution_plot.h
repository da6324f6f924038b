#pragma once
/// The paper's sorted contribution curves (Bozoukov 2025, figures 1 and 5), with what chance would give.
#include <string>

#include "analysis/branches/report.h"

namespace branchsae {

/// branches.svg. A panel a branch: the live latents in ascending order of their positive share |max(d_ib, 0)|
/// / |max(d_i, 0)|; a random direction's mean (dashed) and 99th percentile (dotted); below, for each concept,
/// how many of the latents at that place are of it.
std::string contribution_plot(const std::string& tap, const BranchReport& report);

}  // namespace branchsae
