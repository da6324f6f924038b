#pragma once
/// Trains one k-sparse autoencoder on tokens that somebody hands over; model/train.h is the whole job.
///
///     SaeTrainer trainer(device, {.d = 64, .n = 1024, .k = 32});
///     trainer.step(tokens, stream);
#include <cstdint>
#include <memory>
#include <span>

#include "engine/device.h"
#include "model/learning_rate.h"

namespace branchsae {

/// Where b_pre starts.
enum class CentreStart { kMean, kGeometricMedian };

struct SaeConfig {
  int64_t d = 0;  ///< width of a token
  int64_t n = 0;  ///< latents
  int64_t k = 32;
  bool tied = true;
  bool unit_norm = false;    ///< decoder rows kept at norm 1
  int64_t batch = 4096;      ///< largest batch that step() takes
  double learning_rate = 0;  ///< 0: auto_learning_rate(d, total_steps)
  LrSchedule schedule = LrSchedule::kLinear;
  int64_t warmup = 50;
  int64_t total_steps = 0;  ///< 0: unknown, no decay
  double start_norm =
      0;  ///< of W's rows; 0: kAutoStartNorm beside an auto rate, else the best of kStartNorms
  CentreStart centre = CentreStart::kMean;
  int64_t aux_k = 0;  ///< 0: AuxK off; more than n counts as n
  double aux_alpha = 1.0 / 32;
  int64_t dead_after = 1'000'000;  ///< tokens
  SaePrecision precision = SaePrecision::kF32;
  uint64_t seed = 0;
  uint64_t stream = 0;  ///< separates autoencoders of one seed
};

/// Everything that a later process needs to go on as if it had never stopped.
struct SaeTrainerState {
  SaeParameters parameters;
  SaeOptimizerState optimizer;
  int64_t steps = 0;
  double start_norm = 0;  ///< that was chosen; for the record
};

class SaeTrainer {
 public:
  /// Allocates all memory. Throws InputError for sizes that do not fit together.
  SaeTrainer(const Device& device, const SaeConfig& config);
  ~SaeTrainer();
  SaeTrainer(SaeTrainer&&) noexcept;

  /// Starting values from data (sae_start.h): scale and b_pre from `sample`, row norms from `batch`.
  /// Both [rows, d], device, any strides. Blocking. Throws NumericError when tokens are not finite.
  void start_sync(View<const float, 2> sample, View<const float, 2> batch, Stream& stream);
  /// The same with the sample on the host.
  void start_sync(const HostTensor& sample, View<const float, 2> batch, Stream& stream);
  bool started() const;

  /// One step of Adam on tokens [rows <= batch, d], device. The first call starts from these tokens when
  /// start_sync was not called.
  void step(View<const float, 2> tokens, Stream& stream);

  /// step() of each of several trainers of one device, in as few launches as the device can. The same bytes
  /// as one by one. All are of one length.
  static void step_group(std::span<SaeTrainer* const> trainers, std::span<const View<const float, 2>> tokens,
                         Stream& stream);

  /// Blocking; sums since the last call.
  SaeStats read_stats_sync();
  int64_t steps() const;
  /// Of the latest step; 0 before the first.
  double learning_rate() const;
  /// Of step 1, 2, ...
  double learning_rate(int64_t step) const;
  /// With learning_rate and start_norm as chosen (start_norm once started).
  const SaeConfig& config() const;

  SaeTrainerState state_sync() const;
  /// Goes on from a saved state.
  void load_sync(const SaeTrainerState& state);
  SaeExecutor& executor();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace branchsae
