#pragma once
/// Shared by the encode's kernels and launchers.
#include <cstdint>

namespace branchsae::cuda {

constexpr int32_t kMaxFusedK = 64;  ///< larger k take the chunked route

/// Where a selection goes; by default to the SaeDesc's values, indices, k.
struct EncodeTarget {
  bool dead = false;  ///< AuxK: over `dead` alone, into aux_values, aux_indices, aux_k
  // Unless null: one SAE's tokens with another k, into [rows, k] of these. Its variant is `whole`.
  float* values = nullptr;
  int32_t* indices = nullptr;
  int32_t k = 0;
  float* scratch = nullptr;  ///< scratch_floats(desc, k) of them; null when that is 0
};

}  // namespace branchsae::cuda
