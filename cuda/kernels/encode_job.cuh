#pragma once
// What a block of an encode has to do: which tokens, which latents, where to.
#include <type_traits>

#include "cuda/arch/warp.cuh"
#include "cuda/sae/encode_target.h"
#include "cuda/sae/sae_desc.h"

namespace branchsae::cuda {

template <Precision kPrecision>
using EncodeElement = std::conditional_t<kPrecision == Precision::kBf16, Bf16, float>;

/// Where a selection goes: row r's to values[r * k...], indices[r * k...].
struct EncodeOutput {
  float* values;
  int32_t* indices;

  BRANCHSAE_DEVICE static int32_t k_of(const SaeDesc& sae, const EncodeTarget& target) {
    return target.values != nullptr ? target.k : target.dead ? sae.aux_k : sae.k;
  }
  /// part, splits: with splits > 1 the selection of that share of the latents
  BRANCHSAE_DEVICE EncodeOutput(const SaeDesc& sae, const EncodeTarget& target, int32_t part, int32_t splits)
      : values(target.dead ? sae.aux_values : sae.values),
        indices(target.dead ? sae.aux_indices : sae.indices) {
    if (target.values != nullptr) {
      values = target.values;
      indices = target.indices;
    }
    if (splits > 1) {
      const int64_t before = static_cast<int64_t>(part) * sae.max_batch * k_of(sae, target);
      values = sae.split_values + before;
      indices = sae.split_indices + before;
    }
  }
};

/// What is multiplied: tokens from first_row on with a share of the latents.
template <class Element>
struct EncodeJob {
  const Element *x, *w;
  const float* b_enc;
  const int32_t* latents;  // null: a place among the latents is the latent itself
  int32_t places;          // latents to choose from
  int32_t d_padded, rows, first_row, first_tile, end_tile;

  /// part, splits: this block has that share of the tiles of tile_latents
  BRANCHSAE_DEVICE EncodeJob(const SaeDesc& sae, bool dead, int32_t first, int32_t part, int32_t splits,
                             int32_t tile_latents)
      : x(static_cast<const Element*>(sae.x)),
        b_enc(sae.b_enc),
        latents(dead ? sae.dead : nullptr),
        places(dead ? sae.state->dead_count : sae.n),
        d_padded(sae.d_padded),
        rows(sae.batch->rows),
        first_row(first) {
    if constexpr (std::is_same_v<Element, Bf16>) {
      w = sae.w16;
    } else {
      w = sae.w;
    }
    const int32_t tiles = (places + tile_latents - 1) / tile_latents;
    first_tile = tiles * part / splits;
    end_tile = tiles * (part + 1) / splits;
  }

  BRANCHSAE_DEVICE int32_t latent(int32_t place) const { return latents == nullptr ? place : latents[place]; }
  /// -infinity beyond the places: never selected.
  BRANCHSAE_DEVICE float bias(int32_t place) const {
    return place < places ? b_enc[latent(place)] : as_float(0xff800000U);
  }
  /// 16 bytes of a row of x from `channel` on; zero beyond its end and beyond the batch.
  BRANCHSAE_DEVICE uint4 row_chunk(int32_t row, int32_t channel) const {
    if (row >= rows || channel >= d_padded) return make_uint4(0, 0, 0, 0);
    return load_read_only(reinterpret_cast<const uint4*>(x + static_cast<int64_t>(row) * d_padded + channel));
  }
};

}  // namespace branchsae::cuda
