#pragma once
/// The steps of a training job; train() is a thin entry to it.
#include <memory>
#include <optional>
#include <vector>

#include "model/timings.h"
#include "model/train_member.h"
#include "model/train_setup.h"

namespace branchsae::model {

class TrainJob {
 public:
  /// Does everything that can fail on bad input, and writes nothing.
  TrainJob(const Device& device, const Graph& graph, const ImageSource& images, const TrainOptions& options,
           const RunOrigin& origin, const TrainCallbacks& callbacks);
  TrainResult run();

 private:
  void continue_run(RunFolder& folder);
  void make_members(const Graph& graph, RunFolder folder);
  RunInfo member_info(const Graph& graph, const TrainOptions& options) const;
  void plan(const Graph& graph, const ImageSource& images);
  void open_folders();
  void restore();
  void discard_or_note();

  void train_and_evaluate();
  void write_summaries();
  bool train_steps();
  bool train_step();
  bool prepare_batch();
  void step_members();
  void choose_active();
  void start_trainers();
  void log_lines();
  bool evaluate_held_out();
  template <class Work>
  void for_each_active(const Work& work);
  void drop(TrainMember& member, const std::string& why);
  void check_some_left() const;

  bool checkpoint_is_due() const;
  void write_checkpoint();
  void write_info(const char* status);
  void write_info_of_failure() noexcept;

  bool is_sweep() const { return sweep_folder_.has_value(); }
  bool stop_requested() const { return callbacks_.stop_requested && callbacks_.stop_requested(); }
  void report(TrainProgress::Phase phase, int64_t images, int64_t total_images) const;
  double seconds_left(TrainProgress::Phase phase, double share) const;
  double tokens_per_second() const;
  double images_per_second() const;
  TrainTimings timings();
  void split_step_times();
  TrainResult result();

  Device device_;
  TrainOptions options_;  ///< with tokens as they came out
  TrainCallbacks callbacks_;
  RunInfo info_;                                    ///< what all members share; a sweep's own run.json
  std::optional<RunFolder> sweep_folder_;           ///< holds the members'; unset outside of a sweep
  std::optional<SaePrecision> recorded_precision_;  ///< of a resumed run

  ImageSplit split_;
  std::unique_ptr<SkippedImages> skipped_, skipped_held_out_;
  std::unique_ptr<ImageForward> forward_;
  std::unique_ptr<DiskCache> disk_;  ///< unset without --cache
  std::unique_ptr<ImageTokens> tokens_;
  std::unique_ptr<Stream> stream_;
  RoundSizes sizes_;
  std::unique_ptr<TokenRounds> rounds_;
  std::vector<std::unique_ptr<TrainMember>> members_;

  // Of the present step: who makes it. A member whose checkpoint is newer than the others' waits for them.
  std::vector<TrainMember*> active_;
  std::vector<SaeTrainer*> trainers_;
  std::vector<View<const float, 2>> batches_;

  bool stopped_ = false;
  int64_t step_ = 0, total_steps_ = 0, first_step_ = 0;
  Clock::time_point start_ = Clock::now(), last_checkpoint_ = Clock::now(), round_start_ = Clock::now();
  double seconds_reading_ = 0, seconds_training_ = 0, seconds_round_ = 0;
  TrainTimings timings_;
};

}  // namespace branchsae::model
