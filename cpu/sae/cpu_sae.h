#pragma once
/// The executor behind make_cpu_sae: parameters, work space, and the phases of a step.
#include <span>
#include <vector>

#include "cpu/sae/half_tasks.h"
#include "cpu/sae/pair_rows.h"
#include "cpu/sae/partial_plan.h"
#include "cpu/sae/sae_executor.h"
#include "cpu/sae/tile.h"

namespace branchsae::cpu {

/// Parameters in the layouts of the kernels.
struct Parameters {
  /// bf16: encoder rows are also kept rounded.
  Parameters(const SaeSpec& spec, const SaeLayout& layout, bool bf16);
  int64_t size_bytes() const;
  const Array<float>& decoder() const { return w_dec.size() > 0 ? w_dec : w; }
  Array<float>& decoder() { return w_dec.size() > 0 ? w_dec : w; }

  Array<float> w;         ///< [n, d_padded]
  Array<float> w_dec;     ///< [n, d_padded], empty when tied
  Array<float> packed;    ///< [panels][d][64], always equal to w
  Array<uint32_t> pairs;  ///< [panels][d / 2 rounded up][64], w in bf16; may be empty
  Array<float> b_enc;     ///< [panels * 64], -infinity in padding
  Array<float> b_pre;     ///< [d_padded]
  float scale = 1.0F;
};

/// Adam's moments; those of the rows lie in slices (SaeLayout::moment_offset).
struct Moments {
  Moments(const SaeSpec& spec, const SaeLayout& layout);
  int64_t size_bytes() const;
  Array<float> m_w, v_w, m_w_dec, v_w_dec, m_b_enc, v_b_enc, m_b_pre, v_b_pre;
};

/// Sums over the tokens of one tile.
struct TileSums {
  double squared_error = 0, aux_error = 0, squared_tokens = 0;
  int64_t active = 0;
  NumericFlags flags;
};

/// Where the update phase puts gradients when it does not run Adam.
struct GradientTarget {
  float *w, *w_dec, *b_enc;  ///< [n, d], [n, d] or null, [n]
};

class CpuSae final : public SaeExecutor {
 public:
  CpuSae(const SaeSpec& spec, int threads);

  const SaeSpec& spec() const override { return spec_; }
  void load_sync(const SaeParameters& parameters) override;
  SaeParameters parameters_sync() const override;
  void load_optimizer_sync(const SaeOptimizerState& state) override;
  SaeOptimizerState optimizer_sync() const override;
  void step(Stream& stream, View<const float, 2> tokens, const SaeStep& step) override;
  SaeStats read_stats_sync() override;
  void encode(Stream& stream, View<const float, 2> tokens, View<float, 2> values,
              View<int32_t, 2> indices) override;
  void decode(Stream& stream, View<const float, 2> values, View<const int32_t, 2> indices,
              View<float, 2> x_hat) override;
  void evaluate_sync(View<const float, 2> tokens, int64_t k, SaeEvalSums& sums) override;
  SaeGradients gradients_sync(View<const float, 2> tokens, const SaeStep& step) override;
  std::string description() const override;
  int64_t memory_bytes() const override;

  SaeStepTimes take_times() override;
  EncodeCounts take_encode_counts();

 private:
  /// One batch on its way through the phases.
  struct Batch {
    View<const float, 2> tokens;
    float error_factor;      ///< e = error_factor * r
    float aux_error_factor;  ///< likewise for AuxK
    int64_t size() const { return tokens.shape[0]; }
  };

  /// Neighbouring tokens of a batch.
  struct Tokens {
    int64_t first, count;
  };

  /// Some columns of neighbouring rows.
  struct Rows {
    int64_t range, slice;
  };

  /// One slice of the rows of a panel, with its gradient.
  struct Block {
    int64_t first, count;   ///< latents
    int64_t column, width;  ///< width with padding
    int64_t slice;
    float *gradient, *gradient_dec;  ///< [count, width]; tied: the latter null
  };

  // cpu_sae.cpp
  void note_slow_k(int64_t k);
  void pack_block(int64_t panel, int64_t slice, const float* rows, int64_t stride);
  void measure_weights();
  Panels panels() const;
  bool surely_finite(double squared_tokens) const;
  void refresh_shifted_bias();
  void refresh_fixed();
  bool few_nonzeros_expected();
  bool prefetch_rows() const;

  // cpu_sae_inference.cpp
  int64_t prepare(int64_t k);
  NumericFlags encode_tile(View<const float, 2> x, int64_t k, TileWorkspace& work) const;
  void evaluate_tile(View<const float, 2> x, int64_t k, TileWorkspace& work, SaeEvalSums& sums) const;

  // cpu_sae_step.cpp: forward and backward
  void find_dead(const SaeStep& step);
  void pack_dead_panels();
  Panels dead_panels() const;
  void forward_backward(const Batch& batch);
  void scatter_parts(const Batch& batch);
  void run_halves(const Batch& batch);
  void merge_partial(int64_t from, int64_t to);
  void run_tile(const Batch& batch, int64_t tile, int64_t partial, TileWorkspace& work, SaeStepTimes& times);
  void main_gradient(const Batch& batch, int64_t first, int64_t rows, int64_t partial, TileWorkspace& work,
                     TileSums& sums, float* r_sums);
  void aux_gradient(const Batch& batch, int64_t first, int64_t rows, int64_t partial, TileWorkspace& work,
                    TileSums& sums);
  bool learns_narrow() const;
  LearnTile narrow_tile(SelectionBuffer& selection, int64_t rows, int64_t partial, TileWorkspace& work);
  void add_token_gradient(const SelectionBuffer& selection, int64_t row, int64_t pair_row, float factor,
                          int64_t partial, bool count_as_fired, TileWorkspace& work);
  void store_slices(int64_t pair_row, const float* r, const float* xc);
  int64_t slice_rows() const { return spec_.max_batch * (spec_.aux_k > 0 ? 2 : 1); }

  // cpu_sae_update.cpp: gradient rows and Adam
  void update(const Batch& batch, const SaeStep& step, const GradientTarget* target);
  void update_ranges(const Batch& batch, const AdamFactors& adam, const GradientTarget* target);
  void update_range(int64_t task, const Batch& batch, const AdamFactors& adam, const GradientTarget* target,
                    TileWorkspace& work);
  bool keeps_partials() const { return layout_.scheme == GradientScheme::kScatter || layout_.halves; }
  std::span<const int32_t> bias_slots(int64_t half) const;
  Tokens tokens_of(const Batch& batch, int64_t half) const;
  Rows rows_of(int64_t task) const;
  int64_t half_of(int64_t task) const;
  void sum_half(const HalfTasks::Task& task, const Batch& batch);
  void add_other_half(int64_t range, int64_t slice, TileWorkspace& work);
  void sum_biases(int64_t range, const Tokens& tokens, float* b_enc, uint8_t* fired) const;
  void sum_partial_biases(int64_t range);
  void sum_pairs(int64_t range, int64_t slice, const Tokens& tokens, float* rows, float* rows_dec) const;
  void sum_partials(int64_t range, TileWorkspace& work);
  template <class Body>
  void for_each_block(int64_t range, int64_t slice, TileWorkspace& work, const Body& body);
  void update_block(const Block& block, const Batch& batch, const AdamFactors& adam,
                    const GradientTarget* target);
  void apply_rows(const Block& block, const AdamFactors& adam, float* b_pre_sums);
  void update_rows(const UpdateRows& update, bool unit_norm) const;
  void copy_gradient(const Block& block, float* b_pre_sums, const GradientTarget& target);
  void update_biases(const Block& block, const Batch& batch, const AdamFactors& adam);
  void pre_bias_gradient(const Batch& batch, float* gradient);
  void finish(const Batch& batch, const SaeStep& step);
  SaeStats batch_stats(const Batch& batch);
  int64_t count_dead(int64_t dead_after) const;

  SaeSpec spec_;
  SaeLayout layout_;
  int threads_;
  const SaeKernels& kernels_;
  Parameters parameters_;
  Moments moments_;
  Array<int64_t> last_fired_;  ///< [n]
  int64_t tokens_seen_ = 0;
  int64_t dead_after_ = 0;  ///< of the last step, for SaeStats::dead
  SaeStats stats_;
  bool noted_slow_k_ = false;
  Array<float> row_squares_;    ///< [slices, n_padded] sums of squared encoder weights
  Array<float> row_roundings_;  ///< [slices, n_padded] of what rounding to bf16 changed; may be empty
  double weight_norm_ = 0;      ///< at least the norm of any encoder row
  double weight_rounding_ = 0;  ///< at least the norm of what rounding changed of any encoder row
  double bias_norm_ = 0;        ///< at least any |b_enc|
  double pre_bias_norm_ = 0;    ///< |b_pre|
  double largest_bias_ = 0;     ///< at least any |shifted bias|
  Array<float> shifted_bias_;   ///< [panels * 64] b_enc - W b_pre
  bool shifted_bias_valid_ = false;
  Array<Fixed> fixed_;  ///< [panels][d + 1][64] W and shifted bias in fixed point; may be empty
  FixedFactors fixed_factors_;
  bool fixed_valid_ = false;  ///< the two are those of the present weights

  std::vector<TileWorkspace> work_;
  std::vector<SaeStepTimes> times_;
  Array<TileSums> tile_sums_;        ///< [tiles]
  Array<float> tile_token_sums_;     ///< [tiles, d_padded] sum xc
  Array<float> tile_residual_sums_;  ///< [tiles, d_padded] sum r
  // Partial gradients: up to kPartials under the scatter scheme; under the ranges scheme, of each row that of
  // the half that does not update it. Who reads one clears it: its lines are then in the cache of a writer,
  // which gives them back far sooner than that of a mere reader. So they are zero whenever a sum begins.
  PartialPlan plan_;
  Array<float> partial_, partial_dec_;  ///< [kPartials or 1][n, d_padded], rows in slices as the moments
  Array<float> partial_b_enc_;          ///< [kPartials or 2, n]
  Array<uint8_t> partial_fired_;        ///< [kPartials or 2, n]
  HalfTasks half_tasks_, update_tasks_;
  // Ranges scheme.
  PairRows pairs_;
  Array<float> slices_;          ///< [slices][rows][r | xc]
  Array<float> bias_gradients_;  ///< [n] db_enc
  Array<uint8_t> fired_;         ///< [n] in the present batch
  Array<float> panel_b_pre_;     ///< [panels, d_padded] sum_i db_enc_i W_i of the panel
  Array<float> b_pre_gradient_;  ///< [d_padded]
  Array<double> column_sums_;    ///< [2, d_padded] work space
  // AuxK.
  Array<int32_t> dead_;  ///< [n], the first dead_count_ in ascending order
  int64_t dead_count_ = 0;
  Array<float> dead_panels_;    ///< [panels][d][64]
  Array<uint32_t> dead_pairs_;  ///< [panels][d / 2 rounded up][64]; may be empty
  Array<float> dead_bias_;      ///< [panels * 64]
};

/// Processor seconds of this thread: unlike wall time they leave out what other programs took.
double thread_seconds();

}  // namespace branchsae::cpu
