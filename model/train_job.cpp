#include "model/train_job.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/error.h"
#include "engine/files.h"
#include "engine/log.h"
#include "engine/memory_advice.h"
#include "model/evaluation.h"
#include "model/precision.h"
#include "model/run_files.h"
#include "model/run_texts.h"
#include "model/sae_start.h"

namespace branchsae::model {
namespace {

void check_snapshot(const RunTap& tap, const TapSnapshot& snapshot, const Generation& generation) {
  const SaeSpec& spec = snapshot.sae.spec;
  if (spec.d == tap.d && spec.n == tap.n && spec.k == tap.k &&
      snapshot.state.trainer.steps == generation.step)
    return;
  throw InputError(
      fmt::format("the checkpoint of step {} does not fit tap '{}': it holds {} x {}, k {}, step {}",
                  generation.step, tap.name, spec.n, spec.d, spec.k, snapshot.state.trainer.steps));
}

std::string reason_of(const std::vector<SkippedImage>& skipped, int64_t index) {
  for (const SkippedImage& image : skipped) {
    if (image.index == index) return image.reason;
  }
  return "unreadable in an earlier process";
}

}  // namespace

TrainJob::TrainJob(const Device& device, const Graph& graph, const ImageSource& images,
                   const TrainOptions& options, const RunOrigin& origin, const TrainCallbacks& callbacks)
    : device_(device), options_(options), callbacks_(callbacks), folder_(options.out) {
  check_options(options_);
  info_.origin = origin;
  info_.model_sha256 = graph.sha256;
  if (images.format() == PixelFormat::kU8Rgb && graph.preprocess)
    info_.preprocess = to_string(*graph.preprocess);
  info_.images_fingerprint = images.fingerprint();
  info_.images_count = images.size();
  info_.device = device_.backend().description();
  // A later process may stand elsewhere.
  if (!options_.cache.empty()) options_.cache = std::filesystem::absolute(options_.cache).lexically_normal();
  if (options_.resume) {
    continue_run();
  } else {
    folder_.check_new();
  }
  if (options_.forward_batch == 0) {
    options_.forward_batch = device_.backend().is_host() ? kHostForwardBatch : kDeviceForwardBatch;
  }
  options_.precision = choose_precision(device_.backend(), options_.precision, recorded_precision_);
  info_.taps = plan_taps(graph, options_);
  plan(graph, images);
}

/// Takes over what the run's earlier processes decided, once it is clear that it is the same run.
void TrainJob::continue_run() {
  const RunInfo recorded = folder_.open();
  check_same_model(recorded, info_.model_sha256);
  check_same_images(recorded, info_.images_fingerprint);
  if (recorded.preprocess != info_.preprocess) {
    throw InputError(fmt::format("the run '{}' was started with --preprocess {}, not {}",
                                 folder_.path().string(), recorded.preprocess, info_.preprocess));
  }
  if (options_.forward_batch == 0) options_.forward_batch = recorded.options.forward_batch;
  check_same_options(recorded.options, options_);
  recorded_precision_ = recorded.options.precision;
  info_.round_images = recorded.round_images;
  info_.skipped = recorded.skipped;
}

void TrainJob::plan(const Graph& graph, const ImageSource& images) {
  split_ = plan_split(images, options_);
  forward_ = with_memory_advice("lower --forward-batch", [&] {
    return std::make_unique<ImageForward>(device_, graph, images, options_.taps, options_.forward_batch,
                                          network_precision(*options_.precision), options_.conv);
  });
  const int64_t positions = plan_positions(*forward_, options_);
  options_.tokens = plan_tokens(options_, static_cast<int64_t>(split_.train.size()), positions);
  options_.epochs = 0;
  total_steps_ = (options_.tokens + options_.batch - 1) / options_.batch;
  sizes_ = plan_rounds(options_, positions, total_steps_, info_.round_images);
  check_memory(device_, options_, sizes_, info_.taps);

  info_.options = options_;
  info_.round_images = sizes_.images;
  info_.total_steps = total_steps_;
  skipped_ =
      std::make_unique<SkippedImages>(images, static_cast<int64_t>(split_.train.size()), options_.strict);
  skipped_held_out_ =
      std::make_unique<SkippedImages>(images, static_cast<int64_t>(split_.held_out.size()), options_.strict);
  stream_ = device_.make_stream();
  for (const RunTap& tap : info_.taps) {
    TapTraining training;
    training.tap = tap;
    training.trainer = std::make_unique<SaeTrainer>(device_, sae_config(tap, options_, total_steps_));
    log(LogLevel::kInfo, fmt::format("tap {}: {} channels, {} latents, k {}, learning rate {:.3g}; {}",
                                     tap.name, tap.d, tap.n, tap.k, training.trainer->config().learning_rate,
                                     training.trainer->executor().description()));
    taps_.push_back(std::move(training));
  }
  disk_ = open_disk_cache(device_, options_, info_, *forward_, images);
  rounds_ = with_memory_advice("lower --buffer-tokens, or train fewer --tap at once", [&] {
    tokens_ = std::make_unique<ImageTokens>(
        device_, *forward_, ImageTokens::Options{disk_.get(), options_.sample == TokenSampling::kNorm});
    return std::make_unique<TokenRounds>(device_, *tokens_, *skipped_,
                                         ImageSequence(split_.train, options_.seed), sizes_, options_.seed);
  });
  rounds_->keep_activations(plan_cache(device_, options_, sizes_, info_.taps,
                                       static_cast<int64_t>(split_.train.size()), total_steps_));
}

TrainResult TrainJob::run() {
  open_folder();
  try {
    with_memory_advice("lower --batch or --buffer-tokens, or train fewer --tap at once",
                       [&] { train_and_evaluate(); });
  } catch (const InputError&) {
    discard_or_note();
    throw;
  } catch (const MemoryError&) {
    discard_or_note();
    throw;
  } catch (...) {
    write_info_of_failure();
    throw;
  }
  return result();
}

/// Bad input that only the images themselves showed, or too little memory: nothing is left of a run that
/// never made a step, so that another attempt may take its folder.
void TrainJob::discard_or_note() {
  if (step_ > 0 || options_.resume) return write_info_of_failure();
  for (TapTraining& tap : taps_) tap.log.reset();
  folder_.discard(info_.taps);
}

void TrainJob::open_folder() {
  if (options_.resume) {
    restore();
  } else {
    folder_.create();
  }
  first_step_ = step_;
}

void TrainJob::restore() {
  const std::optional<Generation> newest = folder_.newest_checkpoint();
  if (!newest) {
    log(LogLevel::kWarning, fmt::format("the run '{}' has no checkpoint yet: it starts from the beginning",
                                        folder_.path().string()));
    return;
  }
  if (newest->step > total_steps_) {
    throw InputError(fmt::format("the run '{}' has made {} steps already; --tokens must be at least {}",
                                 folder_.path().string(), newest->step, newest->step * options_.batch));
  }
  for (TapTraining& tap : taps_) {
    TapSnapshot snapshot = folder_.load(*newest, tap.tap);
    check_snapshot(tap.tap, snapshot, *newest);
    for (int64_t index : snapshot.state.skipped) skipped_->restore(index, reason_of(info_.skipped, index));
    rounds_->seek(snapshot.state.place);
    tap.scale = snapshot.sae.parameters.scale;
    snapshot.state.trainer.parameters = std::move(snapshot.sae.parameters);
    tap.trainer->load_sync(snapshot.state.trainer);
  }
  step_ = newest->step;
  folder_.publish(info_.taps);
}

void TrainJob::train_and_evaluate() {
  for (TapTraining& tap : taps_) {
    make_folder(folder_.tap_folder(tap.tap));
    tap.log = std::make_unique<MetricsLog>(folder_.tap_folder(tap.tap) / "metrics.jsonl", step_);
    // What was measured of an earlier state of the run is no longer true.
    if (step_ < total_steps_) remove_tree(folder_.tap_folder(tap.tap) / "eval.json");
  }
  write_info("running");
  stopped_ = !train_steps() || !evaluate_held_out();
  write_info(stopped_ ? "stopped" : "finished");
}

/// False when it was stopped.
bool TrainJob::train_steps() {
  last_checkpoint_ = Clock::now();
  bool go_on = true;
  while (go_on && step_ < total_steps_) {
    go_on = !stop_requested() && train_step();
    if (go_on && step_ < total_steps_ && checkpoint_is_due()) write_checkpoint();
  }
  if (step_ > first_step_) write_checkpoint();
  return go_on;
}

/// False when it was stopped before the step.
bool TrainJob::train_step() {
  {
    const Stopwatch watch(seconds_reading_);
    const auto on_images = [&](int64_t done, int64_t total) {
      report(TrainProgress::Phase::kReading, done, total);
      return !stop_requested();
    };
    const bool new_round = !rounds_->filled();
    if (!rounds_->prepare(*stream_, on_images)) return false;
    if (new_round && total_steps_ - step_ > rounds_->batches_left()) rounds_->prefetch();
  }
  {
    const Stopwatch watch(seconds_training_);
    if (!taps_.front().trainer->started()) start_trainers();
    SaeTrainer::step_group(trainers(), rounds_->batches(*stream_), *stream_);
    rounds_->advance();
    ++step_;
    // Reading them waits for the device, which only the host's own memory makes free of cost.
    if (device_.backend().is_host() || step_ == total_steps_ || step_ % options_.log_every == 0) read_stats();
    if (!rounds_->filled()) stream_->synchronize();  // so that filling the next round is not charged for it
  }
  if (step_ == total_steps_ || step_ % options_.log_every == 0) log_line();
  report(TrainProgress::Phase::kTraining, 0, 0);
  return true;
}

std::vector<SaeTrainer*> TrainJob::trainers() {
  std::vector<SaeTrainer*> all;
  for (TapTraining& tap : taps_) all.push_back(tap.trainer.get());
  return all;
}

void TrainJob::start_trainers() {
  for (size_t i = 0; i < taps_.size(); ++i) {
    const HostTensor sample = rounds_->first_tokens_sync(*stream_, i, kStartSample);
    try {
      taps_[i].trainer->start_sync(sample, rounds_->batches(*stream_)[i], *stream_);
    } catch (const NumericError& error) {
      throw NumericError(fmt::format("tap '{}': {}", taps_[i].tap.name, error.what()), error.detail());
    }
    taps_[i].scale = taps_[i].trainer->executor().parameters_sync().scale;
  }
}

/// Throws NumericError for the first step that met a NaN or an infinity in any tap. A device stops updating
/// an autoencoder at that step by itself, and remembers it.
void TrainJob::read_stats() {
  struct Bad {
    const TapTraining* tap = nullptr;
    int64_t step = 0;
    bool nan = false;
  } first;
  for (TapTraining& tap : taps_) {
    const SaeStats stats = tap.trainer->read_stats_sync();
    tap.sums.add(stats);
    const bool nan = stats.saw_nan || std::isnan(stats.squared_error) || std::isnan(stats.aux_error);
    const bool finite = std::isfinite(stats.squared_error) && std::isfinite(stats.aux_error);
    if (!nan && !stats.saw_inf && finite) continue;
    const int64_t step = stats.bad_step > 0 ? stats.bad_step : step_;
    if (first.tap == nullptr || step < first.step) first = {&tap, step, nan};
  }
  if (first.tap != nullptr) fail_on(*first.tap, first.nan ? "NaN" : "Inf", first.step);
}

void TrainJob::fail_on(const TapTraining& tap, const char* what, int64_t step) const {
  const auto& last = folder_.current();
  throw NumericError(
      fmt::format("training of tap '{}' met {} at step {} (learning rate {:.3g}); {}; try a lower --lr",
                  tap.tap.name, what, step, tap.trainer->learning_rate(step),
                  last ? fmt::format("the checkpoint of step {} stays", last->step)
                       : std::string("no checkpoint was written yet")));
}

void TrainJob::log_line() {
  for (TapTraining& tap : taps_) {
    tap.last = tap.sums.progress(tap.tap.name, tap.tap.n, tap.trainer->learning_rate());
    tap.log->append(step_, step_ * options_.batch, tap.last, tokens_per_second());
    tap.sums = {};
  }
}

/// False when it was stopped.
bool TrainJob::evaluate_held_out() {
  if (split_.held_out.empty()) return true;
  const Stopwatch watch(seconds_evaluating_);
  std::vector<EvaluationTarget> targets;
  for (size_t i = 0; i < taps_.size(); ++i) {
    targets.push_back({taps_[i].tap.name, i, &taps_[i].trainer->executor(), {taps_[i].tap.k}});
  }
  EvaluateCallbacks callbacks;
  callbacks.stop_requested = callbacks_.stop_requested;
  callbacks.progress = [&](int64_t done, int64_t total) {
    report(TrainProgress::Phase::kEvaluating, done, total);
  };
  const EvaluateResult evaluated =
      evaluate_targets(*tokens_, *stream_, targets, split_.held_out, *skipped_held_out_, callbacks);
  if (evaluated.stopped) return false;
  for (size_t i = 0; i < taps_.size(); ++i) {
    taps_[i].held_out = evaluated.evaluations[i].metrics;
    write_text(folder_.tap_folder(taps_[i].tap) / "eval.json",
               eval_text(evaluated.evaluations[i], evaluated.images, info_, step_,
                         sha256_of_file(sae_path(folder_.path(), taps_[i].tap))));
  }
  return true;
}

bool TrainJob::checkpoint_is_due() const {
  const CheckpointEvery& every = options_.checkpoint_every;
  if (every.steps > 0) return step_ % every.steps == 0;
  return every.seconds > 0 && seconds_since(last_checkpoint_) >= every.seconds;
}

void TrainJob::write_checkpoint() {
  if (const auto& current = folder_.current(); current && current->step == step_) return;
  read_stats();
  std::vector<TapSnapshot> snapshots;
  for (const TapTraining& tap : taps_) snapshots.push_back(snapshot(tap));
  folder_.commit(step_, info_.taps, snapshots);
  write_info("running");
  last_checkpoint_ = Clock::now();
}

/// Throws NumericError when the parameters are not finite: the loss shows that only a step later, and a
/// checkpoint that cannot be used must not replace one that can.
TapSnapshot TrainJob::snapshot(const TapTraining& tap) const {
  TapSnapshot snapshot;
  snapshot.state.trainer = tap.trainer->state_sync();
  snapshot.state.place = rounds_->place();
  for (const SkippedImage& image : skipped_->list()) snapshot.state.skipped.push_back(image.index);
  snapshot.state.seed = options_.seed;
  snapshot.config = config_text(tap.trainer->config(), tap.tap, info_, sizes_, tap.scale);
  snapshot.sae = {.spec = tap.trainer->executor().spec(),
                  .parameters = std::move(snapshot.state.trainer.parameters),
                  .tap = tap.tap.name,
                  .model_sha256 = info_.model_sha256,
                  .preprocess = info_.preprocess};
  const SaeParameters& parameters = snapshot.sae.parameters;
  for (const HostTensor* tensor : {&parameters.w, &parameters.w_dec, &parameters.b_enc, &parameters.b_pre}) {
    for (float value : tensor->values()) {
      if (!std::isfinite(value)) fail_on(tap, std::isnan(value) ? "NaN" : "Inf", step_);
    }
  }
  return snapshot;
}

void TrainJob::write_info(const char* status) {
  info_.status = status;
  info_.step = step_;
  info_.skipped = skipped_->list();
  for (SkippedImage& image : skipped_held_out_->list()) info_.skipped.push_back(std::move(image));
  info_.seconds = {{"reading", seconds_reading_},
                   {"training", seconds_training_},
                   {"evaluating", seconds_evaluating_},
                   {"total", seconds_since(start_)}};
  folder_.write_info(info_);
}

/// The error that led here is what counts, not whether it could be noted.
void TrainJob::write_info_of_failure() noexcept {
  try {
    write_info("failed");
  } catch (...) {  // NOLINT(bugprone-empty-catch)
  }
}

double TrainJob::tokens_per_second() const {
  const auto tokens = static_cast<double>((step_ - first_step_) * options_.batch);
  return seconds_training_ > 0 ? tokens / seconds_training_ : 0;
}

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
  const double seconds = seconds_reading_ + seconds_evaluating_;
  if (seconds > 0) progress.images_per_second = static_cast<double>(forward_->images_run()) / seconds;
  progress.tokens_per_second = tokens_per_second();
  for (const TapTraining& tap : taps_) {
    if (tap.last.tap.empty()) break;
    progress.taps.push_back(tap.last);
  }
  callbacks_.progress(progress);
}

TrainResult TrainJob::result() const {
  TrainResult result;
  result.stopped = stopped_;
  result.step = step_;
  result.total_steps = total_steps_;
  result.tokens = step_ * options_.batch;
  for (const TapTraining& tap : taps_) {
    result.taps.push_back({tap.tap, tap.trainer->config(), tap.scale, tap.last, tap.held_out});
  }
  result.skipped = info_.skipped;
  result.train_images = static_cast<int64_t>(split_.train.size());
  result.held_out_images = static_cast<int64_t>(split_.held_out.size());
  result.forward_images = forward_->images_run();
  result.seconds_reading = seconds_reading_;
  result.seconds_training = seconds_training_;
  result.seconds_evaluating = seconds_evaluating_;
  result.seconds_total = seconds_since(start_);
  result.tokens_per_second = tokens_per_second();
  return result;
}

}  // namespace branchsae::model
