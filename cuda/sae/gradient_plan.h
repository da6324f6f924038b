#pragma once
/// Work space of the kernels from the pairs of a batch to new parameters: sort_pairs, tied_dw, adam_project,
/// check_step and finish_step; and the numbers of their schemes.
#include <cstdint>

#include "cuda/sae/sae_desc.h"

namespace branchsae::cuda {

class Workspace;

constexpr int32_t kScanLatents = 256;    ///< latents of a block of scan_pairs
constexpr int32_t kDwPairs = 256;        ///< pairs that a warp of the gathering tied_dw sums
constexpr int32_t kMaxAdamLatents = 64;  ///< of a block of adam_project
constexpr int32_t kSortWarps = 8;        ///< warps of a block of place_pairs, each with counters of its own
constexpr int32_t kSortLatents = 2048;   ///< latents of a block of place_pairs

/// What the choice of the scheme of dW depends on.
struct GradientOptions {
  enum class Scheme { kAuto, kTile, kGather };
  Scheme scheme = Scheme::kAuto;
  int32_t dw_rows = 0;  ///< of kTile: a multiple of 256; 0: as many as suit
  // Of the device; 0: ask for the present device's.
  int64_t smem_bytes = 0;
  int32_t multiprocessors = 0;
};

/// Sets the numbers and takes the arrays under "Gradients" in SaeDesc, and ex, pair_g, aux_pair_g, tile_sums
/// and tile_error_sums; d..precision must be set. The result depends on these and the options only. Throws
/// InputError when pairs cannot be counted in 31 bits or d is too large for the device.
void plan_gradient(SaeDesc& sae, Workspace& workspace, const GradientOptions& options = {});

/// Only the numbers: groups, sort tiles, blocks of adam_project.
void plan_gradient_sizes(SaeDesc& sae, const GradientOptions& options = {});

/// Row tiles of TileSums and of the tile sums: ceil(max_batch / kSumRows).
int32_t sum_tiles(const SaeDesc& sae);
/// Cuts of the gathering tied_dw: rows of carry.
int32_t dw_cuts(const SaeDesc& sae);
/// Rows of ex: rows_padded, twice that with AuxK.
int64_t ex_rows(const SaeDesc& sae);

}  // namespace branchsae::cuda
