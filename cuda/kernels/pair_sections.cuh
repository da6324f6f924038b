#pragma once
// Where the pairs of a batch lie: the main pass's section, then AuxK's; their sort tiles and groups
// (sae_desc.h).
#include "cuda/arch/types.cuh"
#include "cuda/sae/sae_desc.h"

namespace branchsae::cuda {

/// AuxK takes part in this step.
BRANCHSAE_DEVICE bool aux_runs(const SaeDesc& sae) {
  return sae.aux_k > 0 && sae.batch->aux_error_factor != 0.0F && sae.state->dead_count > 0;
}

/// Rows of a section in this step.
BRANCHSAE_DEVICE int32_t section_rows(const SaeDesc& sae, bool aux) {
  return !aux || aux_runs(sae) ? sae.batch->rows : 0;
}
BRANCHSAE_DEVICE int32_t section_k(const SaeDesc& sae, bool aux) {
  return aux ? sae.aux_k : sae.k;
}
/// Of row 0 of the section in ex.
BRANCHSAE_DEVICE int32_t section_ex_row(const SaeDesc& sae, bool aux) {
  return aux ? sae.rows_padded : 0;
}

/// Rows of a group in this step, from `first` of its section on.
struct GroupRows {
  bool aux;
  int32_t first, count;  ///< count <= 0: none in this step
};
BRANCHSAE_DEVICE GroupRows group_rows(const SaeDesc& sae, int32_t group) {
  const bool aux = group >= sae.main_groups;
  const int32_t first = (aux ? group - sae.main_groups : group) * sae.dw_rows;
  const int32_t rest = section_rows(sae, aux) - first;
  return {aux, first, sae.dw_rows > 0 && sae.dw_rows < rest ? sae.dw_rows : rest};
}
/// Where a group's pairs begin: each group has room for all of its slots.
BRANCHSAE_DEVICE int32_t group_base(const SaeDesc& sae, const GroupRows& rows) {
  return (rows.aux ? sae.max_batch * sae.k : 0) + rows.first * section_k(sae, rows.aux);
}

/// Rows of a sort tile in this step.
struct SortTile {
  bool aux;
  int32_t first, count;  ///< count <= 0: none in this step
  int32_t group;
  bool first_of_group;
};
BRANCHSAE_DEVICE SortTile sort_tile(const SaeDesc& sae, int32_t tile) {
  const bool aux = tile >= sae.sort_tiles;
  const int32_t first = (aux ? tile - sae.sort_tiles : tile) * sae.sort_rows;
  const int32_t rest = section_rows(sae, aux) - first;
  const int32_t group = sae.dw_rows > 0 ? first / sae.dw_rows : 0;
  return {aux, first, sae.sort_rows < rest ? sae.sort_rows : rest, group + (aux ? sae.main_groups : 0),
          first == group * sae.dw_rows};
}

}  // namespace branchsae::cuda
