#pragma once
/// A training job with its progress on stderr and signals: what train and demo share.
#include <string>

#include "apps/application.h"
#include "engine/graph.h"
#include "engine/images.h"
#include "model/train.h"

namespace branchsae::apps {

/// What goes into run.json beside the training options.
RunOrigin make_origin(const std::string& model, const std::vector<std::string>& images,
                      const OptionSet& options);

/// Trains. On a signal the job writes a checkpoint and Interrupted is thrown, after saying how to go on.
TrainResult run_train_job(const Context& context, const Device& device, const Graph& graph,
                          const ImageSource& images, const TrainOptions& options, const RunOrigin& origin);

}  // namespace branchsae::apps
