#include "model/train_job.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/error.h"
#include "engine/log.h"
#include "engine/memory_advice.h"
#include "model/evaluation.h"
#include "model/plot/training_plots.h"
#include "model/precision.h"
#include "model/run_files.h"
#include "model/sae_start.h"
#include "model/sweep.h"
#include "model/sweep_table.h"

namespace branchsae::model {
namespace {

constexpr const char* kMemoryAdvice = "lower --batch or --buffer-tokens, or train fewer --tap at once";

}  // namespace

TrainJob::TrainJob(const Device& device, const Graph& graph, const ImageSource& images,
                   const TrainOptions& options, const RunOrigin& origin, const TrainCallbacks& callbacks)
    : device_(device), options_(options), callbacks_(callbacks) {
  const Stopwatch watch(timings_.setup);
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
  RunFolder folder(options_.out);
  if (options_.resume) {
    continue_run(folder);
  } else {
    folder.check_new();
  }
  if (options_.forward_batch == 0) {
    options_.forward_batch = device_.backend().is_host() ? kHostForwardBatch : kDeviceForwardBatch;
  }
  options_.precision = choose_precision(device_.backend(), options_.precision, recorded_precision_);
  make_members(graph, std::move(folder));
  plan(graph, images);
}

/// Takes over what the run's earlier processes decided, once it is clear that it is the same run.
void TrainJob::continue_run(RunFolder& folder) {
  const RunInfo recorded = folder.open();
  check_same_model(recorded, info_.model_sha256);
  check_same_images(recorded, info_.images_fingerprint);
  if (recorded.preprocess != info_.preprocess) {
    throw InputError(fmt::format("the run '{}' was started with --preprocess {}, not {}",
                                 folder.path().string(), recorded.preprocess, info_.preprocess));
  }
  if (options_.forward_batch == 0) options_.forward_batch = recorded.options.forward_batch;
  if (options_.order == ImageOrder::kAuto) options_.order = recorded.options.order;
  check_same_options(recorded.options, options_);
  recorded_precision_ = recorded.options.precision;
  info_.round_images = recorded.round_images;
  info_.skipped = recorded.skipped;
}

/// `folder` is that of the only member, or the one that holds those of a sweep's.
void TrainJob::make_members(const Graph& graph, RunFolder folder) {
  if (options_.sweep.empty()) {
    members_.push_back(std::make_unique<TrainMember>("", std::move(folder), member_info(graph, options_)));
    return;
  }
  sweep_folder_.emplace(std::move(folder));
  for (const SweepMember& planned : options_.sweep) {
    const TrainOptions own = member_options(options_, planned);
    RunInfo info = member_info(graph, own);
    note_changes(planned, info.origin.options);
    members_.push_back(std::make_unique<TrainMember>(planned.name, RunFolder(own.out), std::move(info)));
    if (options_.resume) members_.back()->take_over();
  }
}

RunInfo TrainJob::member_info(const Graph& graph, const TrainOptions& options) const {
  RunInfo info = info_;
  info.options = options;
  info.taps = plan_taps(graph, options);
  return info;
}

void TrainJob::plan(const Graph& graph, const ImageSource& images) {
  options_.order = resolve_order(options_.order, images);
  check_augment(images, options_.augment);
  split_ = plan_split(images, options_);
  forward_ = with_memory_advice("lower --forward-batch", [&] {
    return std::make_unique<ImageForward>(device_, graph, images, options_.taps, options_.forward_batch,
                                          network_precision(*options_.precision), options_.conv,
                                          static_cast<int>(options_.decode_threads));
  });
  forward_->augment(options_.augment, options_.seed);
  const int64_t positions = plan_positions(*forward_, options_);
  options_.tokens = plan_tokens(options_, static_cast<int64_t>(split_.train.size()), positions);
  options_.epochs = 0;
  total_steps_ = (options_.tokens + options_.batch - 1) / options_.batch;
  sizes_ = plan_rounds(options_, positions, static_cast<int64_t>(split_.train.size()), total_steps_,
                       info_.round_images);
  info_.options = options_;
  info_.round_images = sizes_.images;
  info_.total_steps = total_steps_;

  MemoryPlan memory;
  memory.add_buffers(sizes_, members_.front()->info().taps);
  for (const auto& member : members_)
    memory.add_autoencoders(device_, member->info().options, member->info().taps);
  check_memory(device_, options_, memory);
  const auto train_images = static_cast<int64_t>(split_.train.size());
  skipped_ = std::make_unique<SkippedImages>(images, split_.train, options_.strict);
  skipped_held_out_ = std::make_unique<SkippedImages>(images, split_.held_out, options_.strict);
  stream_ = device_.make_stream();
  for (const auto& member : members_) {
    RunInfo& info = member->info();
    info.options.tokens = options_.tokens;
    info.options.order = options_.order;
    info.options.epochs = 0;
    info.round_images = sizes_.images;
    info.total_steps = total_steps_;
    member->make_trainers(device_, sizes_);
  }
  disk_ = open_disk_cache(device_, options_, members_.front()->info(), *forward_, images);
  rounds_ = with_memory_advice("lower --buffer-tokens, or train fewer --tap at once", [&] {
    tokens_ = std::make_unique<ImageTokens>(
        device_, *forward_, ImageTokens::Options{disk_.get(), options_.sample == TokenSampling::kNorm});
    return std::make_unique<TokenRounds>(
        device_, *tokens_, *skipped_, plan_sequence(images, split_.train, options_), sizes_, options_.seed);
  });
  rounds_->keep_activations(plan_cache(device_, options_, sizes_, memory, train_images, total_steps_));
}

TrainResult TrainJob::run() {
  {
    const Stopwatch watch(timings_.setup);
    open_folders();
  }
  try {
    with_memory_advice(kMemoryAdvice, [&] { train_and_evaluate(); });
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
  for (auto member = members_.rbegin(); member != members_.rend(); ++member) (*member)->discard();
  if (is_sweep()) sweep_folder_->discard({});
}

/// A sweep says first what its members are: a process that goes on with it makes those that are missing.
void TrainJob::open_folders() {
  if (is_sweep() && !options_.resume) {
    sweep_folder_->create();
    write_info("running");
  }
  for (const auto& member : members_) member->open();
  if (options_.resume) restore();
  first_step_ = step_;
}

/// The job goes on from the member that has come least far. A kill between two members' checkpoints, or a
/// damaged one, leaves them at several steps; those that are further wait until they are reached.
void TrainJob::restore() {
  RoundPlace place;
  bool is_first = true;
  for (const auto& member : members_) {
    const std::optional<RoundPlace> own = member->restore(*skipped_);
    if (member->failed()) continue;
    if (!is_first && member->step() >= step_) continue;
    step_ = member->step();
    place = own.value_or(RoundPlace{});
    is_first = false;
  }
  check_some_left();
  rounds_->seek(place);
  if (step_ == 0) {
    log(LogLevel::kWarning, fmt::format("the run '{}' has no checkpoint yet: it starts from the beginning",
                                        options_.out.string()));
  }
}

void TrainJob::train_and_evaluate() {
  for (const auto& member : members_) {
    if (!member->failed()) member->begin();
  }
  choose_active();
  write_info("running");
  stopped_ = !train_steps() || !evaluate_held_out();
  if (!stopped_) write_summaries();
  write_info(stopped_ ? "stopped" : "finished");
}

/// What a reader wants of a finished job beside the autoencoders.
void TrainJob::write_summaries() {
  const TrainResult finished = result();
  if (is_sweep()) write_text(options_.out / "sweep.csv", sweep_csv(finished));
  if (!options_.plot) return;
  for (const auto& member : members_) member->draw_plots();
  const std::string sweep = is_sweep() ? sweep_plot(finished) : "";
  if (!sweep.empty()) write_text(options_.out / "sweep.svg", sweep);
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
  if (!prepare_batch()) return false;
  step_members();
  if (step_ == total_steps_ || step_ % options_.log_every == 0) log_lines();
  report(TrainProgress::Phase::kTraining, 0, 0);
  return true;
}

/// False when it was stopped.
bool TrainJob::prepare_batch() {
  if (rounds_->filled()) return true;
  const double forward_before = forward_->forward_seconds();
  const double waited_before = forward_->reader_times().wait_seconds;
  round_start_ = Clock::now();
  const auto on_images = [&](int64_t done, int64_t total) {
    report(TrainProgress::Phase::kReading, done, total);
    return !stop_requested();
  };
  const bool go_on = rounds_->prepare(*stream_, on_images);
  if (go_on && total_steps_ - step_ > rounds_->batches_left()) rounds_->prefetch();
  seconds_round_ = seconds_since(round_start_);
  seconds_reading_ += seconds_round_;
  const double waited = forward_->reader_times().wait_seconds - waited_before;
  const double forward = device_.backend().is_host() ? forward_->forward_seconds() - forward_before
                                                     : std::max(0.0, seconds_round_ - waited);
  timings_.wait += waited;
  timings_.forward += forward;
  timings_.cache += std::max(0.0, seconds_round_ - waited - forward);
  return go_on;
}

void TrainJob::choose_active() {
  active_.clear();
  trainers_.clear();
  for (const auto& member : members_) {
    if (member->failed() || member->step() != step_) continue;
    active_.push_back(member.get());
    for (TapTraining& tap : member->taps()) trainers_.push_back(tap.trainer.get());
  }
}

void TrainJob::step_members() {
  const Stopwatch watch(seconds_training_);
  choose_active();
  const auto start = Clock::now();
  const std::vector<View<const float, 2>>& batches = rounds_->batches(*stream_);
  timings_.cache += seconds_since(start);
  batches_.clear();
  for (size_t i = 0; i < active_.size(); ++i) batches_.insert(batches_.end(), batches.begin(), batches.end());
  if (std::ranges::any_of(trainers_, [](const SaeTrainer* trainer) { return !trainer->started(); }))
    start_trainers();
  {
    const Stopwatch step_watch(timings_.step);
    SaeTrainer::step_group(trainers_, batches_, *stream_);
  }
  rounds_->advance();
  ++step_;
  for (TrainMember* member : active_) member->count_step();
  // Reading them waits for the device, which only the host's own memory makes free of cost.
  if (device_.backend().is_host() || step_ == total_steps_ || step_ % options_.log_every == 0)
    for_each_active([](TrainMember& member) { member.read_stats(); });
  if (!rounds_->filled()) {
    const Stopwatch step_watch(timings_.step);
    stream_->synchronize();  // so that filling the next round is not charged for it
  }
}

/// The same tokens start all autoencoders of a tap.
void TrainJob::start_trainers() {
  const Stopwatch watch(timings_.setup);
  for (size_t i = 0; i < options_.taps.size(); ++i) {
    const HostTensor sample = rounds_->first_tokens_sync(*stream_, i, kStartSample);
    const View<const float, 2> batch = rounds_->batches(*stream_)[i];
    for (TrainMember* member : active_) {
      TapTraining& tap = member->taps()[i];
      if (tap.trainer->started()) continue;
      try {
        tap.trainer->start_sync(sample, batch, *stream_);
      } catch (const NumericError& error) {
        throw NumericError(fmt::format("tap '{}': {}", tap.tap.name, error.what()), error.detail());
      }
      tap.scale = tap.trainer->executor().parameters_sync().scale;
    }
  }
  rounds_->batches(*stream_);  // the sample went through the same memory
}

/// Does something for every run that made the present step. In a sweep one that meets NaN is given up, and
/// the others go on.
template <class Work>
void TrainJob::for_each_active(const Work& work) {
  bool any_failed = false;
  for (TrainMember* member : active_) {
    if (member->failed()) continue;
    try {
      work(*member);
    } catch (const NumericError& error) {
      if (!is_sweep()) throw;
      drop(*member, error.what());
      any_failed = true;
    }
  }
  if (!any_failed) return;
  std::erase_if(active_, [](const TrainMember* member) { return member->failed(); });
  check_some_left();
}

void TrainJob::check_some_left() const {
  if (!std::ranges::all_of(members_, [](const auto& member) { return member->failed(); })) return;
  throw NumericError(fmt::format("all {} members of the sweep failed; the first: {}", members_.size(),
                                 members_.front()->info().failure));
}

void TrainJob::drop(TrainMember& member, const std::string& why) {
  log(LogLevel::kWarning, fmt::format("sweep member {} is given up: {}", member.name(), why));
  member.fail(why);
  member.write_info("failed");
}

void TrainJob::log_lines() {
  for_each_active([&](TrainMember& member) { member.log_line(tokens_per_second()); });
}

/// False when it was stopped.
bool TrainJob::evaluate_held_out() {
  if (split_.held_out.empty()) return true;
  const Stopwatch watch(timings_.evaluation);
  std::vector<EvaluationTarget> targets;
  std::vector<std::pair<TrainMember*, size_t>> first_of;  // a member, and its first target
  for (const auto& member : members_) {
    if (member->failed()) continue;
    first_of.emplace_back(member.get(), targets.size());
    for (size_t i = 0; i < member->taps().size(); ++i) {
      TapTraining& tap = member->taps()[i];
      targets.push_back({tap.tap.name, i, &tap.trainer->executor(), {tap.tap.k}});
    }
  }
  EvaluateCallbacks callbacks;
  callbacks.stop_requested = callbacks_.stop_requested;
  callbacks.progress = [&](int64_t done, int64_t total) {
    report(TrainProgress::Phase::kEvaluating, done, total);
  };
  round_start_ = Clock::now();
  const EvaluateResult evaluated =
      evaluate_targets(*tokens_, *stream_, targets, split_.held_out, *skipped_held_out_, callbacks);
  if (evaluated.stopped) return false;
  for (const auto& [member, first] : first_of)
    member->store_evaluation(evaluated.evaluations.data() + first, evaluated.images);
  return true;
}

bool TrainJob::checkpoint_is_due() const {
  const CheckpointEvery& every = options_.checkpoint_every;
  if (every.steps > 0) return step_ % every.steps == 0;
  return every.seconds > 0 && seconds_since(last_checkpoint_) >= every.seconds;
}

void TrainJob::write_checkpoint() {
  const Stopwatch watch(timings_.checkpoint);
  const std::vector<SkippedImage> skipped = skipped_->list();
  for_each_active([&](TrainMember& member) { member.write_checkpoint(rounds_->place(), skipped); });
  write_info("running");
  last_checkpoint_ = Clock::now();
}

void TrainJob::write_info(const char* status) {
  info_.status = status;
  info_.step = step_;
  info_.skipped = skipped_->list();
  for (SkippedImage& image : skipped_held_out_->list()) info_.skipped.push_back(std::move(image));
  info_.timings = timings();
  info_.members.clear();
  for (const auto& member : members_) {
    member->info().skipped = info_.skipped;
    member->info().timings = info_.timings;
    const char* own = member->failed() ? "failed" : status;
    if (member->folder().is_open()) member->write_info(own);
    if (is_sweep()) info_.members.push_back({member->name(), own, member->info().failure});
  }
  if (is_sweep()) sweep_folder_->write_info(info_);
}

/// The error that led here is what counts, not whether it could be noted.
void TrainJob::write_info_of_failure() noexcept {
  try {
    write_info("failed");
  } catch (...) {  // NOLINT(bugprone-empty-catch)
  }
}

}  // namespace branchsae::model
