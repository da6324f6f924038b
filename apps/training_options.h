#pragma once
/// The options of `train` that say how an autoencoder is trained.
#include "apps/option_set.h"
#include "model/train_options.h"

namespace branchsae::apps {

/// Declares them; defaults are those of TrainOptions.
void add_training_options(OptionSet& options, TrainOptions& train);

/// Copies what the user gave (by flag, environment or file) from `from` to `to`: for --resume, where the
/// run's own options are the defaults.
void overlay_given(const OptionSet& options, const TrainOptions& from, TrainOptions& to);

}  // namespace branchsae::apps
