#pragma once
/// The loop behind evaluate() and the held-out figures of train().
#include <functional>
#include <vector>

#include "engine/sae.h"
#include "model/evaluate.h"
#include "model/image_tokens.h"
#include "model/sae_file.h"
#include "model/skipped_images.h"

namespace branchsae::model {

struct EvaluationTarget {
  std::string tap;
  size_t index = 0;  ///< of the tap in `tokens`
  SaeExecutor* sae = nullptr;
  std::vector<int64_t> ks;
};

/// Every target over all positions of the images, in order.
EvaluateResult evaluate_targets(ImageTokens& tokens, Stream& stream,
                                const std::vector<EvaluationTarget>& targets,
                                const std::vector<int64_t>& images, SkippedImages& skipped,
                                const EvaluateCallbacks& callbacks);

/// The numbers of kept latents asked for, the autoencoder's own when none is. Throws InputError for one
/// outside 1..n.
std::vector<int64_t> checked_ks(const EvaluateOptions& options, const SaeFile& sae);
/// Throws InputError when the tap has another width than the autoencoder.
void check_width(const SaeFile& sae, const Tap& tap);

}  // namespace branchsae::model
