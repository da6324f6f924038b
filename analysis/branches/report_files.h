#pragma once
/// branches.json and branches.csv; docs/formats.md lists their fields.
#include <string>

#include "analysis/branches/report.h"

namespace branchsae {

/// about: a JSON object; images, tokens, labelled and rounds are added to it. with_latents: false leaves out
/// what is said of each latent.
std::string branches_json(const BranchReport& report, const BranchReportOptions& options,
                          const std::string& about, bool with_latents = true);
/// A line a latent.
std::string branches_csv(const BranchReport& report);

}  // namespace branchsae
