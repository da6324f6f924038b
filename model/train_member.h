#pragma once
/// One run of a training job: a folder, options, and an autoencoder a tap. A job has one; a sweep's job has
/// many, which train on the same tokens.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/evaluate.h"
#include "model/metrics_log.h"
#include "model/run_folder.h"
#include "model/tensorboard_log.h"
#include "model/token_rounds.h"
#include "model/train.h"

namespace branchsae::model {

/// One tap's autoencoder in a run.
struct TapTraining {
  RunTap tap;
  std::unique_ptr<SaeTrainer> trainer;
  StepSums sums;  ///< since the last log line
  std::unique_ptr<MetricsLog> log;
  std::unique_ptr<TensorboardLog> tensorboard;  ///< where asked for
  TapProgress last;
  double scale = 1;
  std::optional<SaeMetrics> held_out;
};

class TrainMember {
 public:
  /// `folder` may be open already, as that of a resumed run is. `info` is what the member's run.json will
  /// say, taps and options included. `name` is its name in a sweep, empty outside of one.
  TrainMember(std::string name, RunFolder folder, RunInfo info);

  /// Goes on with what its folder holds, where it holds a run. Throws InputError when that is another run.
  void take_over();
  /// Allocates the autoencoders. info() is complete but for progress.
  void make_trainers(const Device& device, const RoundSizes& sizes);

  /// Creates the folder unless it is open.
  void open();
  /// Loads the newest checkpoint that verifies, and images that it knows to be unreadable; the place of its
  /// next batch, unset when there is none yet.
  std::optional<RoundPlace> restore(SkippedImages& skipped);
  /// Makes the taps' folders ready for more steps.
  void begin();

  /// NumericError naming tap and step, when a tap met NaN or infinity since the last call.
  void read_stats();
  void log_line(double tokens_per_second);
  /// Throws NumericError when the parameters are not finite: the loss shows that only a step later, and a
  /// checkpoint that cannot be used must not replace one that can.
  void write_checkpoint(const RoundPlace& place, const std::vector<SkippedImage>& skipped);
  /// One evaluation a tap.
  void store_evaluation(const SaeEvaluation* evaluations, int64_t images);
  /// loss.svg of every tap, and density.svg of those that were evaluated.
  void draw_plots() const;
  /// status: of run.json.
  void write_info(const std::string& status);
  /// It takes no part any more.
  void fail(const std::string& why) { info_.failure = why; }
  /// Takes back what was written, when no step was made.
  void discard();

  const std::string& name() const { return name_; }
  const RunInfo& info() const { return info_; }
  RunInfo& info() { return info_; }
  const RunFolder& folder() const { return folder_; }
  std::vector<TapTraining>& taps() { return taps_; }
  const std::vector<TapTraining>& taps() const { return taps_; }
  bool failed() const { return !info_.failure.empty(); }
  int64_t step() const { return step_; }
  void count_step() { ++step_; }
  std::vector<TapResult> results() const;

 private:
  [[noreturn]] void throw_not_finite(const TapTraining& tap, const char* what, int64_t step) const;
  TapSnapshot snapshot(const TapTraining& tap, const RoundPlace& place,
                       const std::vector<SkippedImage>& skipped) const;

  std::string name_;
  RunFolder folder_;
  bool open_ = false;
  RunInfo info_;
  RoundSizes sizes_;
  std::vector<TapTraining> taps_;
  int64_t step_ = 0;
};

}  // namespace branchsae::model
