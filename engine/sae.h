#pragma once
/// The k-sparse autoencoder as backends see it. All mathematics is in scaled units x' = scale * x:
///   xc    = x' - b_pre
///   u     = W xc + b_enc               W [n, d]
///   z     = TopK_k(u), only u > 0      at most k of n
///   r     = W_dec^T z - xc             tied: W_dec = W.  x_hat' = W_dec^T z + b_pre
///   loss  = mean over tokens of |r|^2 (+ aux_alpha * AuxK)
/// Source: Bozoukov 2025, arXiv:2504.11489; Gao et al. 2024, arXiv:2406.04093 (TopK, AuxK section 2.2 and
/// A.2).
///
/// Selection contract: larger u first, ties to the lower index, exact for the u the kernel accumulated. Slots
/// are in ascending index; unused ones hold value 0, index -1. NaN is never selected and is flagged; +Inf is
/// selected and flagged.
///
/// Gradients, e_t = 2 r_t / B, g_ti = W_dec,i . e_t for selected (t, i), else 0:
///   tied    dW_i = sum_t (z_ti e_t + g_ti xc_t)
///   untied  dW_i = sum_t g_ti xc_t,  dW_dec,i = sum_t z_ti e_t
///   db_enc_i = sum_t g_ti,  db_pre = sum_t e_t - sum_i db_enc_i W_i
/// AuxK: over the dead latents, za = TopK_{aux_k}(u restricted to dead, only > 0); target -r (a constant);
///   ra = W_dec^T za + r;  loss_aux = mean |ra|^2; its gradients have the same form with e_t = 2 aux_alpha
///   ra_t / B (no gradient through r; b_pre gets only the encoder's part, - sum_i db_enc_i W_i, since the
///   target is constant).
/// Unit norm: dW_i -= (dW_i . W_i) W_i before Adam, W_i /= |W_i| after (untied: of W_dec only).
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/host_tensor.h"
#include "engine/stream.h"
#include "engine/view.h"

namespace branchsae {

/// Numbers of the encode, of the weights it reads and of the residual; sums and master weights are float32
/// always. The selection is exact for the u that the precision gives.
enum class SaePrecision { kF32, kTf32, kBf16 };

/// "fp32", "tf32", "bf16". parse throws InputError for another name.
std::string to_string(SaePrecision precision);
SaePrecision parse_sae_precision(std::string_view text);

/// Sizes and variants; fixed when an executor is made.
struct SaeSpec {
  int64_t d = 0, n = 0, k = 32;
  bool tied = true;
  bool unit_norm = false;
  int64_t aux_k = 0;  ///< 0: AuxK off
  int64_t max_batch = 4096;
  SaePrecision precision = SaePrecision::kF32;  ///< a backend that does not offer it throws InputError
};

/// Throws InputError when k is not in 1..n, a size is not positive, or they are absurd.
void check_spec(const SaeSpec& spec);

/// Host copy of the parameters, float32.
struct SaeParameters {
  HostTensor w;      ///< [n, d] encoder rows (tied: decoder rows too)
  HostTensor w_dec;  ///< [n, d] when untied, else empty
  HostTensor b_enc;  ///< [n]
  HostTensor b_pre;  ///< [d]
  float scale = 1.0F;
};

/// Host copy of what training needs beside the parameters. Same shapes as the parameters; zero at the start.
struct SaeOptimizerState {
  HostTensor m_w, v_w, m_w_dec, v_w_dec, m_b_enc, v_b_enc, m_b_pre, v_b_pre;
  std::vector<int64_t>
      last_fired;  ///< [n] tokens seen by the end of the step in which the latent last fired; 0: never
  int64_t tokens_seen = 0;
};

/// What changes from step to step.
struct SaeStep {
  float learning_rate = 1e-3F;
  float beta1 = 0.9F, beta2 = 0.999F, epsilon = 1e-8F;
  int64_t adam_step = 1;           ///< 1 for the first; bias correction
  int64_t dead_after = 1'000'000;  ///< tokens without firing after which a latent counts as dead
  float aux_alpha = 0.0F;
};

/// Sums over what has been stepped since the last read_stats_sync(); scaled units, double.
struct SaeStats {
  int64_t tokens = 0;
  double squared_error = 0;               ///< sum |r|^2
  double aux_error = 0;                   ///< sum |ra|^2
  double total_variance = 0;              ///< sum over steps of sum_t |x'_t - mean of the step's batch|^2
  double active = 0;                      ///< sum #(z > 0)
  int64_t dead = 0;                       ///< now, not summed
  bool saw_nan = false, saw_inf = false;  ///< in u or in the loss
  int64_t bad_step = 0;                   ///< adam_step of the first step that saw one; 0: none or not known
};

/// Processor seconds that parts of step() took, summed over threads; a backend may time some tiles for all.
struct SaeStepTimes {
  double encode_select = 0;
  double decode_gradient = 0;  ///< includes adding to partial gradients, where a backend does that at once
  double update = 0;           ///< summing of gradient rows and Adam
};

/// Evaluation sums in unscaled units, double. Add over batches; formulas in model/sae_metrics.h.
struct SaeEvalSums {
  int64_t tokens = 0;
  double squared_error = 0;                   ///< sum |x - x_hat|^2
  double squared_norm = 0;                    ///< sum |x|^2
  double cosine = 0;                          ///< sum cos(x, x_hat); 0 for a zero vector
  double active = 0;                          ///< sum #(z > 0)
  std::vector<double> channel_sum;            ///< [d] sum x
  std::vector<double> channel_squared_sum;    ///< [d] sum x^2
  std::vector<double> channel_squared_error;  ///< [d] sum (x - x_hat)^2
  std::vector<int64_t> fired;                 ///< [n] tokens on which the latent was active
};

/// What every executor checks of what it is given. Each throws ShapeError naming both shapes; tensors of the
/// state may be empty (zeros).
void check_parameters(const SaeSpec& spec, const SaeParameters& parameters);
void check_optimizer(const SaeSpec& spec, const SaeOptimizerState& state);
void check_tokens(const SaeSpec& spec, View<const float, 2> tokens, int64_t most);
/// values and indices [tokens, k], k >= 1.
void check_selection(std::array<int64_t, 2> values, std::array<int64_t, 2> indices, int64_t tokens);
void check_decoded(const SaeSpec& spec, std::array<int64_t, 2> x_hat, int64_t tokens);
/// Sizes empty sums; throws when others are of another autoencoder's sizes.
void prepare_sums(const SaeSpec& spec, SaeEvalSums& sums);

/// Gradients on the host, for tests.
struct SaeGradients {
  HostTensor w, w_dec, b_enc, b_pre;
  double loss = 0;      ///< mean |r|^2
  double aux_loss = 0;  ///< mean |ra|^2
};

/// One SAE on one device. All memory is allocated when it is made; nothing of size tokens x latents is ever
/// stored. Same inputs give the same bytes for any number of threads.
class SaeExecutor {
 public:
  virtual ~SaeExecutor() = default;
  virtual const SaeSpec& spec() const = 0;

  /// Blocking. Throws ShapeError when shapes differ from the spec.
  virtual void load_sync(const SaeParameters& parameters) = 0;
  virtual SaeParameters parameters_sync() const = 0;
  virtual void load_optimizer_sync(const SaeOptimizerState& state) = 0;
  virtual SaeOptimizerState optimizer_sync() const = 0;

  /// One training step (forward, gradients, Adam) on tokens x, unscaled, [B, d], device, B <= max_batch.
  virtual void step(Stream& stream, View<const float, 2> tokens, const SaeStep& step) = 0;
  /// Blocking; resets the sums.
  virtual SaeStats read_stats_sync() = 0;

  /// Since the last call; all 0 where they are not known without waiting for the device.
  virtual SaeStepTimes take_times() { return {}; }

  /// values [B, k'] f32 and indices [B, k'] i32 (device, out); k' = values.shape[1] may differ from spec().k
  /// (k sweep).
  virtual void encode(Stream& stream, View<const float, 2> tokens, View<float, 2> values,
                      View<int32_t, 2> indices) = 0;
  /// x_hat [B, d] in unscaled units (device, out).
  virtual void decode(Stream& stream, View<const float, 2> values, View<const int32_t, 2> indices,
                      View<float, 2> x_hat) = 0;
  /// Adds this batch to `sums` (resized when empty); blocking. k as in encode; 0 means spec().k.
  virtual void evaluate_sync(View<const float, 2> tokens, int64_t k, SaeEvalSums& sums) = 0;
  /// Blocking; parameters are not changed. Uses last_fired and `step.dead_after` for AuxK.
  virtual SaeGradients gradients_sync(View<const float, 2> tokens, const SaeStep& step) = 0;
  /// Pre-activations u of a few tokens against all latents would be B x n: not offered.

  virtual std::string description()
      const = 0;  ///< which kernels it chose, for logs: "scatter dW, dense encode, AVX-512"
  virtual int64_t memory_bytes() const = 0;
};

}  // namespace branchsae
