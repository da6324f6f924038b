#pragma once
/// What became of a sweep's members: the table at its end, and of `inspect RUN`.
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "apps/output.h"
#include "model/run.h"
#include "model/train.h"

namespace branchsae::apps {

/// One member's autoencoder of one tap.
struct SweepLine {
  std::string member, tap;
  int64_t d = 0, n = 0, k = 0;
  std::optional<double> loss;  ///< of the training's last log line
  Json metrics;                ///< held out; null when not evaluated
  std::string failure;         ///< empty: none
};

std::vector<SweepLine> sweep_lines(const TrainResult& result);
/// From the members' run.json and eval.json.
std::vector<SweepLine> sweep_lines(const std::filesystem::path& run, const RunInfo& info);

/// A line a member and tap, the tap's least FVU marked; then why members failed.
std::string sweep_text(const std::vector<SweepLine>& lines);
/// [{"member", "folder", "failure", "taps": [{..., "best"}]}]
Json sweep_json(const std::vector<SweepLine>& lines, const std::filesystem::path& run);

}  // namespace branchsae::apps
