// What a training job says of itself: progress, times, results.
#include <algorithm>
#include <numeric>

#include "model/train_job.h"

namespace branchsae::model {

void TrainJob::report(TrainProgress::Phase phase, int64_t images, int64_t total_images) const {
  if (!callbacks_.progress) return;
  TrainProgress progress;
  progress.phase = phase;
  progress.step = step_;
  progress.total_steps = total_steps_;
  progress.tokens = step_ * options_.batch;
  progress.total_tokens = total_steps_ * options_.batch;
  progress.images = images;
  progress.total_images = total_images;
  progress.images_per_second = images_per_second();
  progress.tokens_per_second = tokens_per_second();
  progress.seconds_left = seconds_left(
      phase, total_images > 0 ? static_cast<double>(images) / static_cast<double>(total_images) : 1);
  if (is_sweep()) progress.members = std::ssize(members_);
  for (const auto& member : members_) {
    progress.failed_members += member->failed();
    if (member->failed()) continue;
    for (const TapTraining& tap : member->taps()) {
      if (!tap.last.tap.empty()) progress.taps.push_back(tap.last);
    }
  }
  callbacks_.progress(progress);
}

/// Reading and training alternate, so each is extrapolated by its own pace. `share`: of this phase's images
/// that are done. Below 0 before the first step, when nothing is known of the training's pace.
double TrainJob::seconds_left(TrainProgress::Phase phase, double share) const {
  const double elapsed = seconds_since(round_start_);
  const double of_phase = share > 0 ? elapsed * (1 - share) / share : -1;
  if (phase == TrainProgress::Phase::kEvaluating) return of_phase;
  const int64_t made = step_ - first_step_, left = total_steps_ - step_;
  if (made == 0 || of_phase < 0) return -1;
  const double training = seconds_training_ / static_cast<double>(made) * static_cast<double>(left);
  const int64_t later = std::max<int64_t>(0, left - rounds_->batches_left());
  const auto rounds = static_cast<double>((later + sizes_.batches() - 1) / sizes_.batches());
  const double pace = images_per_second();
  const double evaluation = pace > 0 ? static_cast<double>(split_.held_out.size()) / pace : 0;
  return (phase == TrainProgress::Phase::kReading ? of_phase : 0) + training + rounds * seconds_round_ +
         evaluation;
}

double TrainJob::tokens_per_second() const {
  const auto tokens = static_cast<double>((step_ - first_step_) * options_.batch);
  return seconds_training_ > 0 ? tokens / seconds_training_ : 0;
}

double TrainJob::images_per_second() const {
  const double seconds = seconds_reading_ + timings_.evaluation;
  return seconds > 0 ? static_cast<double>(forward_->images_run()) / seconds : 0;
}

/// Shares the time of the steps among their parts as the processors' time was; where a device does not tell,
/// it stays whole.
void TrainJob::split_step_times() {
  SaeStepTimes sum;
  for (const auto& member : members_) {
    for (TapTraining& tap : member->taps()) {
      const SaeStepTimes times = tap.trainer->executor().take_times();
      sum.encode_select += times.encode_select;
      sum.decode_gradient += times.decode_gradient;
      sum.update += times.update;
    }
  }
  const double all = sum.encode_select + sum.decode_gradient + sum.update;
  if (all <= 0) return;
  timings_.encode += timings_.step * sum.encode_select / all;
  timings_.decode += timings_.step * sum.decode_gradient / all;
  timings_.update += timings_.step * sum.update / all;
  timings_.step = 0;
}

TrainTimings TrainJob::timings() {
  split_step_times();
  TrainTimings now = timings_;
  now.total = seconds_since(start_);
  now.other = 0;
  double known = 0;
  for (const auto& [name, seconds] : timed_parts(now)) known += seconds;
  now.other = std::max(0.0, now.total - known);
  now.image_decoding = forward_->reader_times().decode_seconds;
  now.peak_memory_bytes = peak_memory();
  return now;
}

TrainResult TrainJob::result() {
  TrainResult result;
  result.stopped = stopped_;
  result.step = step_;
  result.total_steps = total_steps_;
  result.tokens = step_ * options_.batch;
  if (!is_sweep()) result.taps = members_.front()->results();
  for (const auto& member : members_) {
    if (!is_sweep()) break;
    result.members.push_back(
        {member->name(), member->folder().path(), member->info().failure, member->results()});
  }
  result.skipped = info_.skipped;
  result.train_images = static_cast<int64_t>(split_.train.size());
  result.held_out_images = static_cast<int64_t>(split_.held_out.size());
  result.forward_images = forward_->images_run();
  result.seconds_reading = seconds_reading_;
  result.seconds_training = seconds_training_;
  result.seconds_evaluating = timings_.evaluation;
  result.seconds_total = seconds_since(start_);
  result.tokens_per_second = tokens_per_second();
  result.timings = timings();
  return result;
}

}  // namespace branchsae::model
