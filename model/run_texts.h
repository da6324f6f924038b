#pragma once
/// Texts of a run's files that hold nothing but results and what they depend on: no times, no paths, so that
/// equal runs give equal bytes.
#include <string>

#include "model/evaluate.h"
#include "model/run.h"
#include "model/token_rounds.h"

namespace branchsae::model {

/// config.json: every hyperparameter of one tap's autoencoder.
std::string config_text(const SaeConfig& config, const RunTap& tap, const RunInfo& run,
                        const RoundSizes& sizes, double scale);

/// eval.json: held-out figures of one tap.
std::string eval_text(const SaeEvaluation& evaluation, int64_t images, const RunInfo& run, int64_t step,
                      const std::string& sae_sha256);

}  // namespace branchsae::model
