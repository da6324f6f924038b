#pragma once
/// What `branches` prints of one autoencoder.
#include <string>

#include "analysis/branches/report.h"

namespace branchsae::apps {

/// Shares by branch with their nulls, concepts, tests: tables with titles.
std::string branches_text(const BranchReport& report, const BranchReportOptions& options);

}  // namespace branchsae::apps
