#pragma once
/// Encode and TopK of one tile of tokens; tokens x latents exists for kChunk latents of one tile at a time.
#include "cpu/sae/array.h"
#include "cpu/sae/kernels.h"
#include "cpu/sae/layout.h"
#include "cpu/sae/sae_executor.h"

namespace branchsae::cpu {

/// What numbers are multiplied by before they are rounded to fixed point.
struct FixedFactors {
  float weight = 0, bias = 0;
};

/// So that nothing leaves the range: norm  at least |W_i| of every row; bias  at least any |bias|. All zero
/// when the numbers are too small or too large for it.
FixedFactors fixed_factors(double norm, double bias);

/// Encoder rows in the layouts of the kernels, and what bounds the errors of an encode. Biases are shifted
/// for tokens that are scaled but not centred: b_enc - W b_pre.
struct Panels {
  const float* weights = nullptr;   ///< [count][d][64]
  const uint32_t* pairs = nullptr;  ///< [count][d / 2 rounded up][64] bf16; null: not kept
  const float* bias = nullptr;      ///< [count * 64], -infinity in padding
  const Fixed* fixed = nullptr;     ///< [count][d + 1][64] weights and biases in fixed point; null: not kept
  FixedFactors fixed_factors;       ///< that they were multiplied by
  int64_t count = 0;
  int64_t latents = 0;              ///< without padding
  bool prefetch = false;            ///< larger than an L2 cache
  const float* rows = nullptr;      ///< [n, d_padded]
  const float* row_bias = nullptr;  ///< [n]
  const int32_t* map = nullptr;     ///< [latents] row of each position; null: its own
  double largest_norm = 0;          ///< at least |W_i| of every row
  double largest_rounding = 0;      ///< at least |W_i - bf16(W_i)| of every row
  double largest_bias = 0;          ///< at least the absolute value of every bias
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
  Array<float> values_;
  Array<int32_t> indices_, counts_;
  Selection view_{};
};

/// Candidates of a tile and of the tokens being selected; memory behind Candidates and SelectionWork.
class CandidateBuffer {
 public:
  CandidateBuffer() = default;
  CandidateBuffer(int64_t rows, int64_t k);
  const Candidates& candidates() const { return candidates_; }
  const SelectionWork& work() const { return work_; }
  int64_t k() const { return k_; }
  int64_t size_bytes() const;

 private:
  int64_t k_ = 0;
  Array<float> thresholds_, values_;
  Array<Key> keys_, work_keys_;
  Array<int32_t> positions_, counts_, indices_;
  Candidates candidates_{};
  SelectionWork work_{};
};

/// Work space of one thread. Allocated once; the selections grow only when encode is asked for a larger k.
class TileWorkspace {
 public:
  TileWorkspace() = default;
  TileWorkspace(const SaeLayout& layout, int64_t k, int64_t aux_k, bool tied, bool bf16);
  /// Room for k; blocking allocation.
  void reserve(const SaeLayout& layout, int64_t k);
  int64_t size_bytes() const;

  Array<float> xs;           ///< [tile, x_stride] scaled tokens
  Array<float> xc;           ///< [tile, x_stride] scaled, centred tokens
  Array<float> r;            ///< [tile, x_stride] residuals
  Array<float> column_sums;  ///< [d_padded] of xc
  Array<uint32_t> pairs;     ///< [tile, pair_stride] xs in bf16; empty: not wanted
  int64_t pair_stride = 0;
  Array<float> squares;     ///< [tile] |xs|^2
  Array<float> roundings;   ///< [tile] |xs - bf16(xs)|^2
  Array<float> errors;      ///< [tile] error bounds of the present encode
  Array<Key> keys;          ///< [tile, layout.key_stride]
  Array<Key> group_maxima;  ///< [tile, 64]
  Array<uint64_t> masks;    ///< [tile, kChunkPanels]
  Array<float> sums;        ///< [tile, kSumStride]
  Array<int32_t> nonzero_columns, nonzero_starts;
  Array<float> nonzero_values;
  NonzeroLists nonzeros{};                        ///< of xs, in the arrays above
  Array<uint32_t> fixed_values;                   ///< of the lists, in fixed point
  Array<float> fixed_units, fixed_token_factors;  ///< [tile]
  Array<Fixed> fixed_bias_factors;                ///< [tile]
  bool met_sparse = true;  ///< a tile had few nonzeros since this was last set to false
  bool sparse = false;     ///< the lists hold the present tile
  int64_t fp32_tiles = 0;  ///< so many tiles to come are encoded in fp32
  EncodeCounts counts;
  SelectionBuffer selection, aux_selection;
  CandidateBuffer candidates;
  Array<float> zc, g;  ///< [k rounded up] of one token
  Array<float> dot_work;
  Array<float> gradient, gradient_dec;  ///< [range, slice]; tied: the latter is empty
};

/// Scales and centres up to layout.tile tokens into work.xs and work.xc; column_sums [d_padded] gets the sums
/// of xc. Lists the nonzeros when they are few, which the encode then runs over.
LoadedTile load_tile(const SaeKernels& kernels, const SaeLayout& layout, View<const float, 2> x, float scale,
                     const float* b_pre, float* column_sums, TileWorkspace& work);

/// Selects the k largest positive pre-activations of each of the loaded tokens into `selection`. The result
/// is the same bits for sparse, dense and bf16 tiles. surely_finite  nothing in the products can overflow or
/// be NaN; else every latent is scored
NumericFlags encode_topk(const SaeKernels& kernels, const Panels& panels, const SaeLayout& layout,
                         int64_t rows, bool surely_finite, TileWorkspace& work, SelectionBuffer& selection,
                         int64_t k);

}  // namespace branchsae::cpu
