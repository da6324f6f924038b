#pragma once
/// The inner loops of the k-sparse autoencoder, one table for each instruction set. Sums may round
/// differently between levels, never between runs. Pointers are 64-byte aligned and never overlap unless said
/// otherwise.
///
/// TopK goes in two stages. An encode computes all pre-activations fast and only so exact that an error bound
/// is known: in fp32 over all columns or over those not zero, in bf16, or over
/// those not zero in fixed point. What the bound leaves possible, few
/// more than k, is scored: pre-activations whose bits do not depend on the encode. Of them the k largest are
/// selected, and they are the k largest of all.
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

/// Of the encodes in floating point, the upper half of a float: sign, exponent and 7 bits. Positive keys are
/// ordered like the floats they were cut from, and a float of at least y has a key of at least y's. Of the
/// encode in fixed point, a multiple of the token's unit.
using Key = int16_t;
/// A fraction of 2^15.
using Fixed = int16_t;

/// What an encode leaves of the approximate pre-activations p of a chunk.
struct Screen {
  Key* keys;  ///< [rows, key_stride] (out)
  int64_t key_stride;
  /// First chunk: largest key of the columns equal modulo 64 (out) [rows, 64]; else null.
  Key* group_maxima;
  /// Later chunks: bit c of word q is p[64 q + c] >= threshold [rows, kChunkPanels] (out).
  const float* thresholds;
  uint64_t* masks;
  /// What a key of 1 stands for [rows]; null: keys are upper halves.
  const float* units = nullptr;
  float unit(int64_t row) const { return units == nullptr ? 0.0F : units[row]; }
};

/// Approximate pre-activations p = xs . W^T + bias of a tile against up to kChunkPanels panels, in fp32.
struct EncodeChunk {
  const float* xs;  ///< [rows, x_stride]
  int64_t x_stride;
  const NonzeroLists* nonzeros;  ///< null: dense
  int64_t rows;                  ///< multiple of kTokenGroup when dense
  int64_t d;
  const float* weights;  ///< [panels][d][64]
  const float* bias;     ///< [panels * 64]
  int64_t panels;
  float* sums;    ///< work space of the sparse encode [rows, kSumStride]
  bool prefetch;  ///< weights do not fit the L2 cache: fetch the next panel during this one
  Screen screen;
};

/// The same from pairs of bf16: products of neighbouring columns are added at once. The lower half of a pair
/// is the even column.
struct EncodePairs {
  const uint32_t* xs;  ///< [rows, x_stride]
  int64_t x_stride;
  int64_t rows;             ///< multiple of kTokenGroup
  int64_t pairs;            ///< d / 2, rounded up
  const uint32_t* weights;  ///< [panels][pairs][64]
  const float* bias;        ///< [panels * 64]
  int64_t panels;
  bool prefetch;
  Screen screen;
};

/// The same in fixed point from the nonzeros: a product is w x / 2^15, rounded to the nearest integer, and no
/// sum may leave the range of keys. The bias is a column more, which every token has.
struct EncodeFixed {
  const NonzeroLists* nonzeros;
  const uint32_t* values;     ///< of the lists, each in both halves [blocks][block_stride]
  const Fixed* bias_factors;  ///< [rows]
  int64_t rows, d;
  const Fixed* weights;  ///< [panels][d + 1][64]
  int64_t panels;
  Screen screen;  ///< with units
};

/// Rounds a panel and its biases to integers: multiples of 1 / factor, at most 2^15 - 1 of them; what is
/// below the range becomes its least number.
struct FixPanel {
  const float* panel;  ///< [columns][64]
  const float* bias;   ///< [64]
  int64_t columns;
  float weight_factor, bias_factor;
  bool shared;   ///< as in UpdateRows
  Fixed* fixed;  ///< [columns + 1][64] (out)
};

/// Rounds the values of lists likewise, each token by its own factor.
struct FixTokens {
  const NonzeroLists* nonzeros;
  int64_t rows;
  const float* factors;  ///< [rows]
  uint32_t* fixed;       ///< each in both halves [blocks][block_stride] (out)
};

/// Sums of squares of tokens, and their rounding to pairs of bf16.
struct RoundTokens {
  const float* xs;  ///< [rows, x_stride]
  int64_t x_stride, rows, d_padded;
  float* squares;   ///< [rows] (out)
  uint32_t* pairs;  ///< [rows, pair_stride] (out); null: not wanted, nor is `errors`
  int64_t pair_stride;
  float* errors;  ///< [rows] sum of squares of what rounding changed (out)
};

/// Rounds columns of a panel to pairs of bf16; an odd last column is paired with zeros.
struct RoundPanel {
  const float* panel;  ///< [columns][64]
  int64_t columns;
  uint32_t* pairs;  ///< [columns / 2 rounded up][64] (out)
  float* errors;    ///< [64] sum of squares of what rounding changed (out)
};

/// What pre-activations are computed from when their bits count: u = bias + W_i . x in an order of its own,
/// so that u does not depend on how the latent was found.
struct Scoring {
  const float* xs;  ///< [rows, x_stride], zero in padding
  int64_t x_stride;
  const float* weights;  ///< [n, d_padded]
  int64_t d_padded;
  const float* bias;       ///< [n]
  const int32_t* latents;  ///< latent of each position; null: positions are latents
};

/// Best k of every token of a tile, in ascending index; slots beyond `counts` are undefined.
struct Selection {
  int64_t k;
  int64_t stride;    ///< row stride of values and indices, >= k + kLanes
  float* values;     ///< [rows, stride]
  int32_t* indices;  ///< [rows, stride]
  int32_t* counts;   ///< [rows]; -1: too many candidates, not selected
};

/// Positions that can still be selected, from the chunks so far.
struct Candidates {
  int64_t capacity;    ///< most of a row
  int64_t stride;      ///< row stride of keys and positions
  Key* keys;           ///< [rows, stride]
  int32_t* positions;  ///< [rows, stride], ascending
  int32_t* counts;     ///< [rows]; -1: there were too many
  float* thresholds;   ///< [rows] least p that can still be selected
};

/// Room for the candidates of kLockstep tokens, one chunk's and those before.
struct SelectionWork {
  int64_t stride;    ///< >= capacity + kChunk + 4 * kLanes
  float* values;     ///< [kLockstep, stride]
  int32_t* indices;  ///< [kLockstep, stride]
  Key* keys;         ///< [kLockstep, stride]
};

/// Lists the positions of the keys of a token above a bound, ascending; returns how many. Up to kLanes
/// positions beyond are written.
struct ListKeys {
  const Key* keys;  ///< [columns]
  int64_t columns;  ///< multiple of 64, at most kChunk
  Key below;
  int64_t first_position;  ///< of column 0
  int32_t* positions;      ///< (out)
};
using ListKeysKernel = int64_t (*)(const ListKeys&);

/// Takes one chunk into the candidates; after the last one scores and selects exactly.
struct SelectChunk {
  int64_t rows;
  int64_t first_position;  ///< of column 0
  int64_t positions;       ///< of all chunks; what follows is padding
  int64_t columns;         ///< multiple of 64
  bool first, last;
  Screen screen;
  const float* errors;  ///< [rows] at least |p - u| of every latent
  Candidates candidates;
  Scoring scoring;
  Selection selection;
  SelectionWork work;
  ListKeysKernel list_keys;  ///< that of the table
};

/// Scores every latent of one token and selects exactly.
struct SelectAll {
  int64_t row;
  int64_t positions;
  Scoring scoring;
  Selection selection;
  SelectionWork work;
};

/// What was not finite; see the selection contract in engine/sae.h.
struct NumericFlags {
  bool nan = false, inf = false;
  void add(const NumericFlags& other) {
    nan = nan || other.nan;
    inf = inf || other.inf;
  }
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

/// Both for the tokens of a tile, of narrow rows and tied weights: the residual r = sum_i z_i W_i + base_sign
/// * base, and the rows of a partial gradient get factor z_i r + g_i xc, g_i = factor W_i . r. The bits are
/// those of the two apart.
struct LearnTile {
  int64_t rows;
  Selection selection;
  const float* weights;  ///< W [n, d_padded]
  int64_t d_padded;      ///< <= kNarrowColumns
  const float* base;     ///< [rows, x_stride]
  float base_sign;       ///< -1 or 1
  const float* xc;       ///< [rows, x_stride]
  float* r;              ///< [rows, x_stride] (out); may be `base`
  int64_t x_stride;
  float factor;
  float* r_sums;    ///< [d_padded] += r; null: not wanted
  float* gradient;  ///< [n, d_padded]
  float* b_enc;     ///< [n] += g_i
  uint8_t* fired;   ///< [n] = 1 where selected; null: not wanted
  float* g;         ///< work space [k rounded up to kLanes]
};

/// Selected (token, latent) pairs of one range of latents.
struct RangePairs {
  int64_t tokens;
  const int32_t* bounds;  ///< [tokens, bounds_stride] the first two: pairs of the token from here to there
  int64_t bounds_stride;
  const int32_t* latents;  ///< [tokens, stride], distinct
  const float *zc, *g;     ///< [tokens, stride]
  int64_t stride;
  int64_t first_latent;  ///< of the range
};

/// Adds the pairs of a range to one slice of the rows of its gradient, token after token: tied rows get
/// zc r + g xc; untied, rows g xc and rows_dec zc r.
struct AddPairs {
  RangePairs pairs;
  const float* slice;    ///< [tokens][r: width | xc: width], row stride 2 * slice_stride
  int64_t slice_stride;  ///< xc starts here
  int64_t width;         ///< multiple of kLanes
  float* rows;           ///< [range, width]
  float* rows_dec;       ///< [range, width]; null: tied
};

/// Partial gradients of the two halves of a batch: target = sum of the first half's slots, in order, + sum of
/// the second half's. What was read is zero afterwards.
struct SumPartials {
  float* partials;  ///< [slots, stride]
  int64_t stride;
  const int32_t* slots[2];
  int64_t counts[2];  ///< at least 1 each
  int64_t width;
  float* target;  ///< [width] (out)
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

/// Adam on one slice of consecutive rows of W; on the way, what their biases add to the gradient of b_pre.
struct UpdateRows {
  float* gradient;      ///< [rows, width]; the new weights, afterwards
  int64_t rows, width;  ///< width: multiple of kLanes
  float* w;
  int64_t w_stride;
  bool shared;  ///< other threads have read w: it is written past the caches, which need not ask theirs first
  float *m, *v;                 ///< [rows, width]
  const float* bias_gradients;  ///< [rows]; null: not wanted
  float* b_pre_sums;            ///< [width] += bias_gradient_i W_i, of W before the update
  float* squares;               ///< [rows] sum w^2 after the update (out)
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
  void (*round_tokens)(const RoundTokens&);
  void (*round_panel)(const RoundPanel&);
  void (*encode_chunk)(const EncodeChunk&);
  /// Null: the processor does not multiply bf16, nothing is rounded.
  void (*encode_pairs)(const EncodePairs&);
  /// Null, as the next two: this level has no sparse encode.
  void (*encode_fixed)(const EncodeFixed&);
  void (*fix_panel)(const FixPanel&);
  void (*fix_tokens)(const FixTokens&);
  /// Null: select_chunk has its own way.
  ListKeysKernel list_keys;
  /// Null: this level scores every latent.
  void (*select_chunk)(const SelectChunk&);
  NumericFlags (*select_all)(const SelectAll&);
  /// Returns |r|^2.
  float (*decode_token)(const DecodeToken&);
  void (*scatter_token)(const ScatterToken&);
  /// Returns the sum of |r|^2. Null: this level has too few registers to gain by it.
  double (*learn_tile)(const LearnTile&);
  void (*add_pairs)(const AddPairs&);
  void (*sum_partials)(const SumPartials&);
  /// to += from; from = 0
  void (*move_sums)(float* from, float* to, int64_t count);
  /// y += a x
  void (*add_scaled)(float a, const float* x, float* y, int64_t width);
  void (*update_weights)(const UpdateWeights&);
  void (*update_rows)(const UpdateRows&);
  void (*pack_panel)(const PackPanel&);
};

/// The table of a level; a level that this build lacks gives the best one below it.
const SaeKernels& sae_kernels(Isa isa);

}  // namespace branchsae::cpu
