#include "model/train_member.h"

#include <fmt/format.h>

#include <cmath>

#include "engine/error.h"
#include "engine/files.h"
#include "engine/log.h"
#include "model/plot/training_plots.h"
#include "model/run_files.h"
#include "model/run_texts.h"
#include "model/train_setup.h"

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

TrainMember::TrainMember(std::string name, RunFolder folder, RunInfo info)
    : name_(std::move(name)), folder_(std::move(folder)), open_(folder_.is_open()), info_(std::move(info)) {}

void TrainMember::take_over() {
  if (!RunFolder::holds_run(folder_.path())) return;
  const RunInfo recorded = folder_.open();
  open_ = true;
  check_same_model(recorded, info_.model_sha256);
  check_same_images(recorded, info_.images_fingerprint);
  check_same_options(recorded.options, info_.options);
  info_.failure = recorded.failure;
}

void TrainMember::make_trainers(const Device& device, const RoundSizes& sizes) {
  sizes_ = sizes;
  for (const RunTap& tap : info_.taps) {
    TapTraining training;
    training.tap = tap;
    training.trainer =
        std::make_unique<SaeTrainer>(device, sae_config(tap, info_.options, info_.total_steps));
    log(name_.empty() ? LogLevel::kInfo : LogLevel::kDebug,
        fmt::format("{}tap {}: {} channels, {} latents, k {}, learning rate {:.3g}; {}",
                    name_.empty() ? "" : name_ + ": ", tap.name, tap.d, tap.n, tap.k,
                    training.trainer->config().learning_rate, training.trainer->executor().description()));
    taps_.push_back(std::move(training));
  }
}

void TrainMember::open() {
  if (!open_) folder_.create();
  open_ = true;
}

std::optional<RoundPlace> TrainMember::restore(SkippedImages& skipped) {
  const std::optional<Generation> newest = folder_.newest_checkpoint();
  if (!newest) return std::nullopt;
  if (newest->step > info_.total_steps) {
    throw InputError(fmt::format("the run '{}' has made {} steps already; --tokens must be at least {}",
                                 folder_.path().string(), newest->step, newest->step * info_.options.batch));
  }
  RoundPlace place;
  for (TapTraining& tap : taps_) {
    TapSnapshot snapshot = folder_.load(*newest, tap.tap);
    check_snapshot(tap.tap, snapshot, *newest);
    for (int64_t index : snapshot.state.skipped) skipped.restore(index, reason_of(info_.skipped, index));
    place = snapshot.state.place;
    tap.scale = snapshot.sae.parameters.scale;
    snapshot.state.trainer.parameters = std::move(snapshot.sae.parameters);
    tap.trainer->load_sync(snapshot.state.trainer);
  }
  step_ = newest->step;
  folder_.publish(info_.taps);
  return place;
}

void TrainMember::begin() {
  for (TapTraining& tap : taps_) {
    const auto folder = folder_.tap_folder(tap.tap);
    make_folder(folder);
    tap.log = std::make_unique<MetricsLog>(folder / "metrics.jsonl", step_);
    if (info_.options.tensorboard)
      tap.tensorboard = std::make_unique<TensorboardLog>(folder / "tensorboard", step_);
    // What was measured of an earlier state of the run is no longer true.
    if (step_ < info_.total_steps) remove_tree(folder / "eval.json");
  }
}

/// A device stops updating an autoencoder at the first step that met a NaN by itself, and remembers it.
void TrainMember::read_stats() {
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
  if (first.tap != nullptr) throw_not_finite(*first.tap, first.nan ? "NaN" : "Inf", first.step);
}

void TrainMember::throw_not_finite(const TapTraining& tap, const char* what, int64_t step) const {
  const auto& last = folder_.current();
  throw NumericError(
      fmt::format("training of tap '{}' met {} at step {} (learning rate {:.3g}); {}; try a lower --lr",
                  tap.tap.name, what, step, tap.trainer->learning_rate(step),
                  last ? fmt::format("the checkpoint of step {} stays", last->step)
                       : std::string("no checkpoint was written yet")));
}

void TrainMember::log_line(double tokens_per_second) {
  for (TapTraining& tap : taps_) {
    tap.last = tap.sums.progress(tap.tap.name, tap.tap.n, tap.trainer->learning_rate());
    tap.log->append(step_, step_ * info_.options.batch, tap.last, tokens_per_second);
    if (tap.tensorboard) tap.tensorboard->append(step_, tap.last, tokens_per_second);
    tap.sums = {};
  }
}

void TrainMember::write_checkpoint(const RoundPlace& place, const std::vector<SkippedImage>& skipped) {
  if (const auto& current = folder_.current(); current && current->step == step_) return;
  read_stats();
  std::vector<TapSnapshot> snapshots;
  for (const TapTraining& tap : taps_) snapshots.push_back(snapshot(tap, place, skipped));
  folder_.commit(step_, info_.taps, snapshots);
}

TapSnapshot TrainMember::snapshot(const TapTraining& tap, const RoundPlace& place,
                                  const std::vector<SkippedImage>& skipped) const {
  TapSnapshot snapshot;
  snapshot.state.trainer = tap.trainer->state_sync();
  snapshot.state.place = place;
  for (const SkippedImage& image : skipped) snapshot.state.skipped.push_back(image.index);
  snapshot.state.seed = info_.options.seed;
  snapshot.config = config_text(tap.trainer->config(), tap.tap, info_, sizes_, tap.scale);
  snapshot.sae = {.spec = tap.trainer->executor().spec(),
                  .parameters = std::move(snapshot.state.trainer.parameters),
                  .tap = tap.tap.name,
                  .model_sha256 = info_.model_sha256,
                  .preprocess = info_.preprocess};
  const SaeParameters& parameters = snapshot.sae.parameters;
  for (const HostTensor* tensor : {&parameters.w, &parameters.w_dec, &parameters.b_enc, &parameters.b_pre}) {
    for (float value : tensor->values()) {
      if (!std::isfinite(value)) throw_not_finite(tap, std::isnan(value) ? "NaN" : "Inf", step_);
    }
  }
  return snapshot;
}

void TrainMember::store_evaluation(const SaeEvaluation* evaluations, int64_t images) {
  for (size_t i = 0; i < taps_.size(); ++i) {
    taps_[i].held_out = evaluations[i].metrics;
    write_text(folder_.tap_folder(taps_[i].tap) / "eval.json",
               eval_text(evaluations[i], images, info_, step_,
                         sha256_of_file(sae_path(folder_.path(), taps_[i].tap))));
  }
}

void TrainMember::draw_plots() const {
  for (const TapTraining& tap : taps_) {
    const auto folder = folder_.tap_folder(tap.tap);
    const auto metrics = folder / "metrics.jsonl";
    const std::string loss =
        std::filesystem::exists(metrics) ? loss_plot(tap.tap.name, read_file(metrics)) : "";
    if (!loss.empty()) write_text(folder / "loss.svg", loss);
    if (tap.held_out) write_text(folder / "density.svg", density_plot(tap.tap.name, *tap.held_out));
  }
}

void TrainMember::write_info(const std::string& status) {
  info_.status = status;
  info_.step = step_;
  folder_.write_info(info_);
}

void TrainMember::discard() {
  for (TapTraining& tap : taps_) tap.log.reset();
  folder_.discard(info_.taps);
}

std::vector<TapResult> TrainMember::results() const {
  std::vector<TapResult> results;
  for (const TapTraining& tap : taps_) {
    results.push_back({tap.tap, tap.trainer->config(), tap.scale, tap.last, tap.held_out});
  }
  return results;
}

}  // namespace branchsae::model
