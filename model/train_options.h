#pragma once
/// Options of a training run, as `branchsae train` offers them.
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/network.h"
#include "model/cache_numbers.h"
#include "model/image_draw.h"
#include "model/image_order.h"
#include "model/sae_trainer.h"
#include "model/token_sample.h"

namespace branchsae {

/// When checkpoints are written beside the one at the end: every `steps`, or every `seconds`.
struct CheckpointEvery {
  int64_t steps = 0;     ///< 0: by time
  double seconds = 300;  ///< counts when steps is 0; 0: only at the end
};

/// "5min", "30s", "1h" or a bare number of steps. Throws InputError.
CheckpointEvery parse_checkpoint_every(std::string_view text);
std::string to_string(const CheckpointEvery& every);

/// What `--forward-batch auto` means: 16 images keep a CPU's caches and threads busy, a GPU wants more. The
/// second was not measured on a GPU.
inline constexpr int64_t kHostForwardBatch = 16, kDeviceForwardBatch = 64;

/// One combination of a sweep (model/sweep.h).
struct SweepMember {
  std::string name;     ///< of its folder: "k=4,lr=1e-3"
  std::string changes;  ///< what it sets, a JSON object: {"k":4,"lr":0.001}
};

struct TrainOptions {
  std::vector<std::string> taps;
  std::filesystem::path out;  ///< the run's folder
  bool resume = false;        ///< go on with the run in `out`

  /// Not empty: a sweep. Each member is a run of its own in out/sweep/<name>, with these options but for what
  /// it changes; all are trained together.
  std::vector<SweepMember> sweep;

  int64_t k = 32;
  int64_t expansion = 16;  ///< n = expansion * d
  bool tied = true;
  bool unit_norm = false;
  double start_norm = 0;  ///< 0: auto
  CentreStart centre = CentreStart::kMean;

  int64_t tokens = 20'000'000;  ///< per tap; rounded up to whole batches
  double epochs = 0;            ///< when > 0 instead of tokens: passes over the training images
  int64_t batch = 4096;
  double learning_rate = 0;  ///< 0: auto
  int64_t warmup = 50;
  LrSchedule schedule = LrSchedule::kLinear;
  int64_t aux_k = 0;
  double aux_alpha = 1.0 / 32;
  int64_t dead_after = 1'000'000;
  /// Unset: the device's usual one (fp32 on the CPU, bf16 on a GPU); on resume as before where the device
  /// offers it.
  std::optional<SaePrecision> precision;

  ConvAlgorithm conv = ConvAlgorithm::kAuto;  ///< of the network

  double holdout = 0.1;
  int64_t positions_per_image =
      0;  ///< 0: all. Taps on different grids always take as many as the smallest has
  TokenSampling sample = TokenSampling::kUniform;  ///< how they are drawn where not all are taken
  int64_t buffer_tokens = 131'072;                 ///< tokens per tap that are shuffled together
  ImageOrder order = ImageOrder::kAuto;
  int64_t shuffle_buffer = 4096;  ///< images, with ImageOrder::kShards
  Augment augment;                ///< of training images; nothing is kept of what is drawn anew each epoch
  int64_t forward_batch = 0;  ///< images per forward pass; 0: kHostForwardBatch, on a GPU kDeviceForwardBatch
  uint64_t seed = 0;
  CachePrecision cache_precision = CachePrecision::kF32;  ///< of all tokens, when there is a cache on disk

  // What follows does not change the result.
  CheckpointEvery checkpoint_every;
  int64_t log_every = 25;       ///< steps per line of metrics.jsonl
  bool tensorboard = false;     ///< the same figures as TensorBoard's event files
  bool plot = false;            ///< draws loss, densities and a sweep's outcome at the end
  int64_t max_memory = 0;       ///< bytes for token buffers and kept activations; 0: a third of the
                                ///< machine's, and what a GPU has left
  std::filesystem::path cache;  ///< folder that keeps tokens for later runs; empty: none
  int64_t cache_size = 0;       ///< bytes it may take; 0: four fifths of what is free
  int64_t decode_threads = 0;   ///< 0: as many as the device has host threads
  bool strict = false;          ///< an unreadable image is an error
};

/// Throws InputError for a value that cannot work, naming the option.
void check_options(const TrainOptions& options);

/// One JSON object with the options' command-line names; `out` and `resume` are left out.
std::string to_json(const TrainOptions& options);
/// The reverse; `where` names the file in errors. Throws InputError.
TrainOptions train_options_from_json(const std::string& json, const std::string& where);

}  // namespace branchsae
