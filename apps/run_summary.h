#pragma once
/// What a run's folder holds, and how its autoencoders did: tables that several commands print.
#include <filesystem>
#include <string>
#include <vector>

#include "apps/output.h"
#include "apps/table.h"
#include "model/sae_metrics.h"
#include "model/train.h"

namespace branchsae::apps {

/// For `inspect RUN`. Throws InputError when the folder holds no run.
void summarise_run(const std::filesystem::path& run, Output& out);

/// A tap's eval.json as train or eval left it; null when there is none. Throws InputError when it is damaged.
Json stored_metrics(const std::filesystem::path& folder);

/// What a table says of one autoencoder.
struct TapLine {
  std::string tap;
  int64_t d = 0, n = 0, k = 0;
  Json metrics;  ///< to_json(SaeMetrics); null when not evaluated
};
/// d, n, k, then FVU, explained variance, mse, l0, dead, cosine.
Table metrics_table(const std::vector<TapLine>& lines);

/// The table and document at the end of a training job.
std::string train_text(const TrainResult& result, const std::string& run);
Json train_json(const TrainResult& result, const std::string& run);

}  // namespace branchsae::apps
