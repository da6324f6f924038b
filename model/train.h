#pragma once
/// The whole training job: images -> forward passes -> shuffled tokens -> one autoencoder per tap -> a run's
/// folder. In a sweep one per tap and member -> a run's folder each.
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/images.h"
#include "model/run.h"
#include "model/sae_metrics.h"
#include "model/timings.h"

namespace branchsae {

struct TapProgress {
  std::string tap;
  double loss = 0;  ///< mean |r|^2 since the last log line, scaled units
  double fvu = 0;   ///< on the training batches since the last log line
  double l0 = 0;
  double dead = 0;  ///< share of latents, by dead_after
  double learning_rate = 0;
};

struct TrainProgress {
  enum class Phase { kReading, kTraining, kEvaluating } phase = Phase::kTraining;
  int64_t step = 0, total_steps = 0;
  int64_t tokens = 0, total_tokens = 0;     ///< per tap
  int64_t images = 0, total_images = 0;     ///< of this buffer or evaluation, when reading or evaluating
  double images_per_second = 0;             ///< forward passes, since the start of this process
  double tokens_per_second = 0;             ///< per tap, training alone, since the start of this process
  double seconds_left = -1;                 ///< estimated, evaluation included; below 0: not known yet
  int64_t members = 0, failed_members = 0;  ///< of a sweep; 0 outside of one
  std::vector<TapProgress> taps;  ///< of the latest log line, of all members; empty before the first
};

struct TrainCallbacks {
  /// Called after every batch of images and every step, on the calling thread.
  std::function<void(const TrainProgress&)> progress;
  /// Polled at the same points; true: finish the step, write a checkpoint, return with stopped set.
  std::function<bool()> stop_requested;
};

struct TapResult {
  RunTap tap;
  SaeConfig config;  ///< with what `auto` chose
  double scale = 1;
  TapProgress last;                    ///< the last log line
  std::optional<SaeMetrics> held_out;  ///< unset when stopped early or nothing is held out
};

/// One run of a sweep.
struct MemberResult {
  std::string name;
  std::filesystem::path folder;
  std::string failure;  ///< why it was given up; empty: it was not
  std::vector<TapResult> taps;
};

struct TrainResult {
  bool stopped = false;  ///< by stop_requested
  int64_t step = 0, total_steps = 0, tokens = 0;
  std::vector<TapResult> taps;        ///< none in a sweep
  std::vector<MemberResult> members;  ///< of a sweep
  std::vector<SkippedImage> skipped;
  int64_t train_images = 0, held_out_images = 0, forward_images = 0;
  double seconds_reading = 0, seconds_training = 0, seconds_evaluating = 0, seconds_total = 0;
  double tokens_per_second = 0;  ///< per tap, training alone, this process
  TrainTimings timings;          ///< of this process
};

/// Trains; `origin` goes into run.json. With options.resume it goes on from the newest checkpoint that
/// verifies: the same model, images and options are needed, but for tokens and what does not change the
/// result. The learning rate follows the new total when tokens are raised. Result files (sae, state, config,
/// eval) are the same bytes whether or not it was interrupted. Throws InputError, NumericError (naming tap
/// and step; the last checkpoint stays), IoError, DeviceError.
/// A sweep (options.sweep) trains all its members from the same batches; each one's result files are those of
/// the same run made alone. One that meets NaN is given up and the others go on; NumericError when none is
/// left.
TrainResult train(const Device& device, const Graph& graph, const ImageSource& images,
                  const TrainOptions& options, const RunOrigin& origin, const TrainCallbacks& callbacks = {});

}  // namespace branchsae
