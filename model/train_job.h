#pragma once
/// The steps of a training run; train() is a thin entry to it.
#include <chrono>
#include <memory>
#include <optional>
#include <vector>

#include "model/metrics_log.h"
#include "model/run_folder.h"
#include "model/token_rounds.h"
#include "model/train_setup.h"

namespace branchsae::model {

using Clock = std::chrono::steady_clock;
inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Adds the time of a scope to a total.
class Stopwatch {
 public:
  explicit Stopwatch(double& total) : total_(total) {}
  ~Stopwatch() { total_ += seconds_since(start_); }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  double& total_;
  Clock::time_point start_ = Clock::now();
};

/// One tap's autoencoder in a run.
struct TapTraining {
  RunTap tap;
  std::unique_ptr<SaeTrainer> trainer;
  StepSums sums;  ///< since the last log line
  std::unique_ptr<MetricsLog> log;
  TapProgress last;
  double scale = 1;
  std::optional<SaeMetrics> held_out;
};

class TrainJob {
 public:
  /// Does everything that can fail on bad input, and writes nothing.
  TrainJob(const Device& device, const Graph& graph, const ImageSource& images, const TrainOptions& options,
           const RunOrigin& origin, const TrainCallbacks& callbacks);
  TrainResult run();

 private:
  void plan(const Graph& graph, const ImageSource& images);
  void continue_run();
  void open_folder();
  void restore();
  void discard_or_note();

  void train_and_evaluate();
  bool train_steps();
  bool train_step();
  std::vector<SaeTrainer*> trainers();
  void start_trainers();
  void read_stats();
  [[noreturn]] void fail_on(const TapTraining& tap, const char* what, int64_t step) const;
  void log_line();
  bool evaluate_held_out();

  bool checkpoint_is_due() const;
  void write_checkpoint();
  TapSnapshot snapshot(const TapTraining& tap) const;
  void write_info(const char* status);
  void write_info_of_failure() noexcept;

  bool stop_requested() const { return callbacks_.stop_requested && callbacks_.stop_requested(); }
  void report(TrainProgress::Phase phase, int64_t images, int64_t total_images) const;
  double tokens_per_second() const;
  TrainResult result() const;

  Device device_;
  TrainOptions options_;  ///< with tokens as they came out
  TrainCallbacks callbacks_;
  RunFolder folder_;
  RunInfo info_;
  std::optional<SaePrecision> recorded_precision_;  ///< of a resumed run

  ImageSplit split_;
  std::unique_ptr<SkippedImages> skipped_, skipped_held_out_;
  std::unique_ptr<ImageForward> forward_;
  std::unique_ptr<DiskCache> disk_;  ///< unset without --cache
  std::unique_ptr<ImageTokens> tokens_;
  std::unique_ptr<Stream> stream_;
  RoundSizes sizes_;
  std::unique_ptr<TokenRounds> rounds_;
  std::vector<TapTraining> taps_;

  bool stopped_ = false;
  int64_t step_ = 0, total_steps_ = 0, first_step_ = 0;
  Clock::time_point start_ = Clock::now(), last_checkpoint_ = Clock::now();
  double seconds_reading_ = 0, seconds_training_ = 0, seconds_evaluating_ = 0;
};

}  // namespace branchsae::model
