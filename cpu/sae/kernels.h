#pragma once
/// The inner loops of the k-sparse autoencoder, one table for each instruction set. Every level gives the
/// same selection for the same pre-activations; sums may round differently between levels, never between
/// runs. Pointers are 64-byte aligned and never overlap unless said otherwise.
#include <cstdint>

#include "cpu/sae/isa.h"

namespace branchsae::cpu {

/// Scales and centres tokens: xs = scale * x, xc = xs - b_pre. Padding columns become zero.
struct LoadTile {
  const float* x;                     ///< [rows, d], any strides
  int64_t row_stride, column_stride;  ///< in elements
  int64_t rows, d, d_padded;
  float scale;
  const float* b_pre;  ///< [d_padded]
  float *xs, *xc;      ///< [rows, tile_stride] (out)
  int64_t tile_stride;
  float* column_sums;  ///< [d_padded], sum of xc over rows (out)
};

/// Sums over a tile.
struct LoadedTile {
  double squares;    ///< sum xc^2
  int64_t nonzeros;  ///< of xs
};

/// Nonzero values of the tokens of a tile, in ascending column. Columns are cut into blocks, and the entries
/// of a block lie together, token after token, as the encode reads them.
struct NonzeroLists {
  int32_t* columns;      ///< [blocks][block_stride]
  float* values;         ///< [blocks][block_stride]
  int64_t block_stride;  ///< >= rows * block_columns + kLanes
  int32_t* starts;  ///< [blocks][starts_stride], entry t is where token t starts, entry t + 1 where it ends
  int64_t starts_stride;  ///< > rows
  int64_t block_columns;  ///< multiple of kLanes
  int64_t blocks;
};

/// Shifts the bias so that tokens need no centring: W (xs - b_pre) + b_enc = W xs + (b_enc - W b_pre).
struct ShiftBias {
  const float* panel;  ///< [d][64]
  const float* b_enc;  ///< [64]
  const float* b_pre;  ///< [d]
  int64_t d;
  float* shifted;  ///< [64] (out)
};

/// Pre-activations p = xs . W^T + bias of a tile against up to kChunkPanels panels. Every sum starts with the
/// bias and takes the columns in ascending order by fused multiply-adds, and zeros change no sum: with and
/// without lists of nonzeros the result is the same bits.
struct EncodeChunk {
  const float* xs;  ///< [rows, x_stride]
  int64_t x_stride;
  const NonzeroLists* nonzeros;  ///< null: dense
  int64_t rows;                  ///< multiple of kTokenGroup when dense
  int64_t d;
  const float* weights;  ///< [panels][d][64]
  const float* bias;     ///< [panels * 64]
  int64_t panels;
  float* p;  ///< [rows, kTileStride] (out)
  /// First chunk: largest p of the columns equal modulo 64 (out) [rows, 64]; else null.
  float* group_maxima;
  /// Later chunks: bit c of word q is p[64 q + c] > threshold [rows, kChunkPanels] (out).
  const float* thresholds;
  uint64_t* masks;
  bool prefetch;  ///< weights do not fit the L2 cache: fetch the next panel during this one
};

/// Best k so far of every token of a tile. Kept values are in ascending index; slots beyond `counts` are
/// undefined.
struct Selection {
  int64_t k;
  int64_t stride;     ///< row stride of values and indices, >= k + kLanes
  float* values;      ///< [rows, stride]
  int32_t* indices;   ///< [rows, stride]
  int32_t* counts;    ///< [rows]
  float* thresholds;  ///< [rows] only p > threshold can still be selected; 0 at the start
  float* maxima;      ///< [rows] largest candidate so far
};

/// Merges one chunk into the selection.
struct SelectChunk {
  int64_t rows;
  int64_t first_latent;       ///< index of column 0
  int64_t columns;            ///< multiple of 64
  const float* p;             ///< [rows, kTileStride]; no NaN
  const float* group_maxima;  ///< first chunk, else null
  const uint64_t* masks;      ///< later chunks, else null
  Selection selection;
  /// Work space: [kLockstep, candidate_stride], candidate_stride >= k + kChunk + 5 * kLanes.
  float* candidate_values;
  int32_t* candidate_indices;
  int64_t candidate_stride;
};

/// r = sum_i z_i W_i + base_sign * base, and dots_i = W_i . r, for one token.
struct DecodeToken {
  const float* z;          ///< [count]
  const int32_t* indices;  ///< [count]
  int64_t count;
  const float* rows;  ///< W_dec [n, d_padded]
  int64_t d_padded;
  const float* base;    ///< [d_padded]
  float base_sign;      ///< -1 or 1
  float* r;             ///< [d_padded] (out); may be `base`
  float* r_sums;        ///< [d_padded] += r; null: not wanted
  float* dots;          ///< [count rounded up to 16] (out); null: not wanted
  float* work;          ///< [count rounded up to 16][16]
  const int32_t* next;  ///< indices of the next token, to fetch their rows early; may be null
  int64_t next_count;
};

/// Adds one token to a partial gradient: tied rows get zc_i r + g_i xc; untied, rows g_i xc and rows_dec zc_i
/// r.
struct ScatterToken {
  const float* zc;         ///< [count] z_i times the factor that makes r the gradient e
  const float* g;          ///< [count]
  const int32_t* indices;  ///< [count], distinct
  int64_t count;
  const float *r, *xc;  ///< [d_padded]
  int64_t d_padded;
  float* rows;      ///< [n, d_padded]
  float* rows_dec;  ///< [n, d_padded]; null: tied
};

/// One selected (token, latent) pair, sorted by latent.
struct Pair {
  int32_t token;
  float zc, g;
};

/// One slice of one gradient row: sum over pairs of zc r + g xc (tied), or g xc and zc r apart.
struct SumPairs {
  const Pair* pairs;
  int64_t count;
  const float* slice;    ///< [tokens][r: width | xc: width], row stride 2 * slice_stride
  int64_t slice_stride;  ///< xc starts here
  int64_t width;         ///< multiple of kLanes
  float* gradient;       ///< [width] (out)
  float* gradient_dec;   ///< [width] (out); null: tied
};

/// Factors of one Adam step; Kingma and Ba 2015, arXiv:1412.6980.
struct AdamFactors {
  float beta1, beta2, epsilon;
  float step_size;      ///< learning rate / (1 - beta1^t)
  float inverse_bias2;  ///< 1 / (1 - beta2^t)
};

/// Adam on consecutive weights. Arrays need no alignment beyond 4 bytes if `count` is no multiple of kLanes.
struct UpdateWeights {
  const float* gradient;
  float *w, *m, *v;
  int64_t count;
  AdamFactors adam;
};

/// Copies rows of W into a panel: panel[j][i] = w[i][j].
struct PackPanel {
  const float* w;  ///< first row and column
  int64_t w_stride;
  int64_t rows;  ///< <= 64; the rest of the panel is left alone
  int64_t columns;
  float* panel;  ///< [columns][64]
};

struct SaeKernels {
  Isa isa;
  LoadedTile (*load_tile)(const LoadTile&);
  /// Lists the nonzeros of `rows` rows of xs [rows, x_stride]. Null: this level has no sparse encode.
  void (*list_nonzeros)(const float* xs, int64_t x_stride, int64_t rows, int64_t d,
                        const NonzeroLists& lists);
  void (*shift_bias)(const ShiftBias&);
  void (*encode_chunk)(const EncodeChunk&);
  void (*select_chunk)(const SelectChunk&);
  /// Returns |r|^2.
  float (*decode_token)(const DecodeToken&);
  void (*scatter_token)(const ScatterToken&);
  /// Returns sum g.
  float (*sum_pairs)(const SumPairs&);
  /// target[i] = sum over the partials, in order, and zeroes them. partials[p * stride + i].
  void (*sum_partials)(float* partials, int64_t stride, int64_t partials_count, int64_t width, float* target);
  /// y += a x
  void (*add_scaled)(float a, const float* x, float* y, int64_t width);
  /// Returns sum w^2 after the step.
  float (*update_weights)(const UpdateWeights&);
  void (*pack_panel)(const PackPanel&);
};

/// The table of a level; a level that this build lacks gives the best one below it.
const SaeKernels& sae_kernels(Isa isa);

}  // namespace branchsae::cpu
