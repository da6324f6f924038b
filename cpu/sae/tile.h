#pragma once
/// Encode and TopK of one tile of tokens; tokens x latents exists for kChunk latents of one tile at a time.
#include "cpu/sae/array.h"
#include "cpu/sae/kernels.h"
#include "cpu/sae/layout.h"

namespace branchsae::cpu {

/// Packed encoder rows and their bias, shifted for tokens that are scaled but not centred.
struct Panels {
  const float* weights = nullptr;  ///< [count][d][64]
  const float* bias = nullptr;     ///< [count * 64] b_enc - W b_pre, -infinity in padding
  int64_t count = 0;
  int64_t latents = 0;    ///< without padding
  bool prefetch = false;  ///< larger than an L2 cache
};

/// What was not finite; see the selection contract in engine/sae.h.
struct NumericFlags {
  bool nan = false, inf = false;
  void add(const NumericFlags& other) {
    nan = nan || other.nan;
    inf = inf || other.inf;
  }
};

/// Selected latents of a tile; memory behind Selection.
class SelectionBuffer {
 public:
  SelectionBuffer() = default;
  SelectionBuffer(int64_t rows, int64_t k);
  Selection view() { return view_; }
  const float* values(int64_t row) const { return view_.values + row * view_.stride; }
  const int32_t* indices(int64_t row) const { return view_.indices + row * view_.stride; }
  int32_t* indices(int64_t row) { return view_.indices + row * view_.stride; }
  int64_t count(int64_t row) const { return view_.counts[row]; }
  int64_t k() const { return view_.k; }
  int64_t size_bytes() const;

 private:
  Array<float> values_, thresholds_, maxima_;
  Array<int32_t> indices_, counts_;
  Selection view_{};
};

/// Work space of one thread. Allocated once; the selections grow only when encode is asked for a larger k.
class TileWorkspace {
 public:
  TileWorkspace() = default;
  TileWorkspace(const SaeLayout& layout, int64_t k, int64_t aux_k);
  /// Room for k; blocking allocation.
  void reserve(const SaeLayout& layout, int64_t k);
  int64_t size_bytes() const;

  Array<float> xs;            ///< [tile, x_stride] scaled tokens
  Array<float> xc;            ///< [tile, x_stride] scaled, centred tokens
  Array<float> r;             ///< [tile, x_stride] residuals
  Array<float> column_sums;   ///< [d_padded] of xc
  Array<float> p;             ///< [tile, kTileStride]
  Array<float> group_maxima;  ///< [tile, 64]
  Array<uint64_t> masks;      ///< [tile, kChunkPanels]
  Array<int32_t> nonzero_columns, nonzero_starts;
  Array<float> nonzero_values;
  NonzeroLists nonzeros{};  ///< of xs, in the arrays above
  bool sparse = false;      ///< the lists hold the present tile
  SelectionBuffer selection, aux_selection;
  Array<float> candidate_values;
  Array<int32_t> candidate_indices;
  int64_t candidate_stride = 0;
  Array<float> zc, g;  ///< [k rounded up] of one token
  Array<float> dot_work;
  Array<float> gradient, gradient_dec;  ///< [slice] one row
};

/// Scales and centres up to layout.tile tokens into work.xs and work.xc; column_sums [d_padded] gets the sums
/// of xc. Lists the nonzeros when they are few, which the encode then runs over.
LoadedTile load_tile(const SaeKernels& kernels, const SaeLayout& layout, View<const float, 2> x, float scale,
                     const float* b_pre, float* column_sums, TileWorkspace& work);

/// Selects the k largest positive pre-activations of each of the loaded tokens into `selection`.
/// surely_finite  nothing in the products can overflow or be NaN, so the check is left out
NumericFlags encode_topk(const SaeKernels& kernels, const Panels& panels, const SaeLayout& layout,
                         int64_t rows, bool surely_finite, TileWorkspace& work, SelectionBuffer& selection,
                         int64_t k);

}  // namespace branchsae::cpu
