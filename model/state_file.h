#pragma once
/// What a run needs beside the parameters to go on: RUN/checkpoints/<step>/<tap>/state.safetensors.
#include <filesystem>
#include <vector>

#include "engine/safetensors.h"
#include "model/sae_trainer.h"
#include "model/token_rounds.h"

namespace branchsae::model {

/// The parameters themselves are in sae.safetensors; `trainer.parameters` is not stored here.
struct TrainState {
  SaeTrainerState trainer;
  RoundPlace place;
  std::vector<int64_t> skipped;  ///< indices of images found unreadable so far, ascending
  uint64_t seed = 0;  ///< with the place, all there is to the random numbers: they are counted, not drawn
};

SafeTensors to_safetensors(const TrainState& state);
/// Throws InputError naming the file when something is missing or does not fit [n, d].
TrainState load_state(const std::filesystem::path& path, const SaeSpec& spec);

}  // namespace branchsae::model
