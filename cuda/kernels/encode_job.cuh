#pragma once
// What a block of an encode has to do: which tokens, which latents, where to.
#include <type_traits>

#include "cuda/arch/warp.cuh"
#include "cuda/sae/encode_target.h"
#include "cuda/sae/sae_desc.h"

namespace branchsae::cuda {

template <Precision kPrecision>
using EncodeElement = std::conditional_t<kPrecision == Precision::kBf16, Bf16, float>;

template <class Element>
struct EncodeJob {
  const Element *x, *w;
  const float* b_enc;
  const int32_t* latents;  // null: a place among the latents is the latent itself
  int32_t places;          // latents to choose from
  int32_t d_padded, rows, first_row, first_tile, end_tile, k;
  float* values;  // of row 0
  int32_t* indices;

  /// part, splits: this block has that share of the tiles of tile_latents
  BRANCHSAE_DEVICE EncodeJob(const SaeDesc& sae, const EncodeTarget& target, int32_t first, int32_t part,
                             int32_t splits, int32_t tile_latents)
      : x(static_cast<const Element*>(sae.x)), b_enc(sae.b_enc), latents(target.dead ? sae.dead : nullptr),
        places(target.dead ? sae.state->dead_count : sae.n), d_padded(sae.d_padded), rows(sae.batch->rows),
        first_row(first), k(target.dead ? sae.aux_k : sae.k), values(target.dead ? sae.aux_values : sae.values),
        indices(target.dead ? sae.aux_indices : sae.indices) {
    if constexpr (std::is_same_v<Element, Bf16>) {
      w = sae.w16;
    } else {
      w = sae.w;
    }
    if (target.values != nullptr) {
      values = target.values;
      indices = target.indices;
      k = target.k;
    }
    if (splits > 1) {
      const int64_t before = static_cast<int64_t>(part) * sae.max_batch * k;
      values = sae.split_values + before;
      indices = sae.split_indices + before;
    }
    const int64_t tiles = (places + tile_latents - 1) / tile_latents;
    first_tile = static_cast<int32_t>(tiles * part / splits);
    end_tile = static_cast<int32_t>(tiles * (part + 1) / splits);
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
