#pragma once
/// Everything one autoencoder keeps in device memory, as pieces of one allocation.
#include <optional>
#include <string>
#include <string_view>

#include "cuda/sae/inference.h"
#include "cuda/sae/sae_desc.h"
#include "cuda/sae/workspace.h"
#include "engine/sae.h"

namespace branchsae::cuda {

struct SaePlan {
  SaeDesc training{};
  /// The same arrays with a batch and a state of their own, so that asking for anything beside a step leaves
  /// no trace in the training.
  SaeDesc inference{};
  Evaluation evaluation{};
  int64_t selection_slots = 0;  ///< elements of values and of indices: max_batch * k, and n at least
  uint32_t* fault = nullptr;    ///< not 0: decode met an index that is no latent's
};

/// Throws InputError when `spec` is wrong or too large for the kernels' 32-bit counts. The present device is
/// asked for its shared memory.
SaePlan plan_sae(const SaeSpec& spec, Workspace& workspace);

/// One line for an allocation of `workspace.size_bytes()` that failed: what, how large, how much is free, and
/// the option that would make it fit.
std::string no_room_message(const SaeSpec& spec, const Workspace& workspace, std::string_view device,
                            std::optional<int64_t> free_bytes);

}  // namespace branchsae::cuda
