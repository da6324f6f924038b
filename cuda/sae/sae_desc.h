#pragma once
/// What kernels know of autoencoders: one SaeDesc each, in an array in device memory, so that one launch
/// serves many. A launch gets that array and a work list; block b does item b. Kernels and host code share
/// this file.
///
/// A step, in order (formulas: engine/sae.h):
///   gather_tokens    tokens -> x (scaled, centred, rounded, padded), sums for the variance
///   encode_topk      x, w -> values, indices
///   (AuxK: encode_topk over the dead latents -> aux_values, aux_indices)
///   decode_grad      x, values, w_dec -> ex = [e | xc], pair gradients g, sums of the loss and of e
///                    (AuxK in the same launch; its pairs and ex rows follow the others')
///   check_step       sums of the tiles -> sums of the step, flags, bad_step: before anything is updated
///   sort_pairs       pairs -> by latent, token order within (deterministic, no float atomics)
///   tied_dw          sorted pairs, ex -> rows (or partial rows) of dW
///   adam_project     dW -> w, moments, 16-bit copies, b_enc, last_fired, partial sums of db_enc W
///   finish_step      b_pre, totals, tokens_seen
#include <cstdint>

namespace branchsae::cuda {

struct Bf16;
struct TensorMap;

/// What encode, decode and gradients read: x, weights and ex are Bf16 with kBf16, else float. Sums are float
/// always.
enum class Precision : int32_t { kF32, kTf32, kBf16 };

constexpr int32_t kChannelPadding = 16;  ///< d_padded is a multiple
constexpr int32_t kLatentPadding = 64;   ///< n_padded is a multiple
constexpr int32_t kRowPadding = 128;     ///< rows_padded is a multiple
constexpr int32_t kSlice = 32;           ///< channels of a slice of ex
constexpr int32_t kGatherRows = 32;      ///< tokens of a tile of gather_tokens
constexpr int32_t kSumRows = 32;         ///< tokens of a row tile: of tile_sums and tile_error_sums

/// The batch and the numbers of one step; rewritten before each.
struct SaeBatch {
  const float* tokens;  ///< [rows, d] unscaled, any strides
  int64_t row_stride, column_stride;
  int32_t rows;            ///< B <= max_batch
  int32_t error_only;      ///< not 0: stop before anything is updated (evaluation, gradients for tests)
  float error_factor;      ///< e = error_factor * r, 2 / B
  float aux_error_factor;  ///< 2 aux_alpha / B; 0: no AuxK in this step
  // Adam: w -= step_size * m / (sqrt(v * square_correction) + epsilon), step_size = lr / (1 - beta1^t),
  // square_correction = 1 / (1 - beta2^t).
  float beta1, beta2, epsilon, step_size, square_correction;
  int64_t adam_step;
  int64_t dead_after;
};

/// Sums over the tokens of one row tile, written by the block that owns it.
struct TileSums {
  double squared_error, aux_error;
  int64_t active;
};

/// Sums over a batch, written by check_step.
struct StepSums {
  double squared_error, aux_error, squared_tokens;
  int64_t active;
};

/// A selected latent of a token, as the gradient of its row needs it: dW_latent += z e[row] + g xc[row].
struct alignas(16) Pair {
  int32_t row, latent;
  float z, g;
};

/// What goes on from step to step beside the parameters; zero at the start.
struct SaeState {
  int64_t tokens_seen;
  // Sums since they were last read.
  int64_t tokens, active;
  double squared_error, aux_error, total_variance;
  int32_t dead_count;  ///< length of `dead`, of this step (AuxK) or as last counted
  uint32_t flags;      ///< kSawNan | kSawInf, in u or the loss; set with atomic_or
  int64_t bad_step;    ///< adam_step of the first step that set flags. From then on nothing is updated
};
constexpr uint32_t kSawNan = 1, kSawInf = 2;

struct SaeDesc {
  int32_t d, d_padded, slices;  ///< slices = ceil(d / kSlice)
  int32_t n, n_padded;
  int32_t k, aux_k;
  int32_t max_batch, rows_padded;
  int32_t tied, unit_norm;
  Precision precision;
  float scale;

  SaeBatch* batch;
  SaeState* state;

  // Parameters. Rows [n_padded, d_padded], padding 0; b_enc [n_padded], padding -infinity; b_pre [d_padded],
  // padding 0. w_dec and w16_dec are w and w16 when tied. The 16-bit copies are there with kBf16 only, and
  // always equal to w.
  float *w, *w_dec;
  Bf16 *w16, *w16_dec;
  float *b_enc, *b_pre;
  // Adam's moments, shaped like their parameters; the w_dec ones null when tied.
  float *m_w, *v_w, *m_w_dec, *v_w_dec, *m_b_enc, *v_b_enc, *m_b_pre, *v_b_pre;
  int64_t* last_fired;  ///< [n]

  // The batch on its way. "x type" is Bf16 or float, by precision.
  void* x;                 ///< [rows_padded, d_padded] x type; rows from `rows` on and padding channels are 0
  float* values;           ///< [max_batch, k]
  int32_t* indices;        ///< [max_batch, k], ascending, unused slots last: 0 / -1
  float* pair_g;           ///< [max_batch, k]
  void* ex;                ///< [rows_padded (twice with AuxK), slices, 2, kSlice] x type: e, then xc
  TileSums* tile_sums;     ///< [row tiles]
  float* tile_error_sums;  ///< [row tiles, d_padded] sum e (of the main loss: db_pre)
  // Written by gather_tokens, of every tile that holds a token of the batch; of x before it is rounded. The
  // batch's sum |x - mean|^2 is sum of tile_squares - |sum of tile_token_sums|^2 / rows.
  double* tile_squares;    ///< [rows_padded / kGatherRows] sum |x|^2
  float* tile_token_sums;  ///< [rows_padded / kGatherRows, d_padded] sum x
  // AuxK; null without.
  int32_t* dead;         ///< [n] dead latents in ascending order, dead_count of them
  float* aux_values;     ///< [max_batch, aux_k]
  int32_t* aux_indices;  ///< [max_batch, aux_k] latents (not places in `dead`)
  float* aux_pair_g;     ///< [max_batch, aux_k]

  // Work space of single kernels: each family adds its own here and plans it in its plan().
  // encode_topk: selections of the blocks that share a token, [encode_splits, max_batch, the larger fused k];
  // pre-activations of a chunk of tokens, for k above kMaxFusedK. Null when not needed.
  int32_t encode_splits, split_k;
  float* split_values;
  int32_t* split_indices;
  float* chunk;
  TensorMap* encode_maps;  ///< x, then w16, for sm_90a; null: not used

  // Gradients (cuda/sae/gradient_plan.h). A group is the rows whose pairs are sorted together: dw_rows rows
  // (then tied_dw works from shared memory), or with dw_rows == 0 all. AuxK's groups follow the others'.
  int32_t dw_rows, main_groups, groups;
  int32_t sort_rows, sort_tiles;      ///< rows of a sort tile, sort tiles of the batch (AuxK: as many again)
  int32_t adam_latents, adam_blocks;  ///< latents of a block of adam_project; its blocks
  int32_t* pair_counts;   ///< [sort tiles, n]; scanned: pairs of the latent in earlier tiles of the group
  int32_t* pair_starts;   ///< [groups, n] pairs before the latent in its chunk of kScanLatents
  int32_t* chunk_counts;  ///< [groups, chunks]
  int32_t* pair_begin;    ///< [groups, n + 1] where a latent's pairs begin in `pairs`
  Pair* pairs;            ///< [max_batch (k + aux_k)] by group, latent, row
  float *dw, *dw_dec;     ///< [groups, n, slices, kSlice], only of latents with pairs; dw_dec untied
  float* db_enc;          ///< [groups, n], likewise
  // With dw_rows == 0 lists are cut every kDwPairs pairs; of a list cut in two the later part is a carry.
  float *carry, *carry_dec;  ///< [cuts, slices, kSlice]
  float* carry_db;           ///< [cuts]
  float* encoder_sums;       ///< [adam_blocks, d_padded] sum db_enc W
  double* variance_sums;     ///< [ceil(d_padded / 32)] sum over the channels of (sum x)^2
  StepSums* step_sums;
};

/// Evaluation sums in unscaled units (SaeEvalSums in engine/sae.h), of a tile of kEvaluateRows tokens or of
/// all.
struct EvaluateSums {
  double squared_error, squared_norm, cosine;
  int64_t active;
};
constexpr int32_t kEvaluateRows = 64;

/// One block's share: autoencoder and tile (its meaning is the kernel's own).
struct WorkItem {
  int32_t sae, tile;
};

/// A work list in device memory.
struct WorkList {
  const WorkItem* items = nullptr;
  int32_t count = 0;
};

}  // namespace branchsae::cuda
