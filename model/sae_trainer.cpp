#include "model/sae_trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "engine/error.h"
#include "engine/memory_advice.h"
#include "model/device_rows.h"
#include "model/sae_start.h"

namespace branchsae {
namespace {

SaeConfig resolve(SaeConfig config) {
  config.aux_k = std::min(config.aux_k, config.n);
  if (config.unit_norm) config.start_norm = 1;
  if (config.learning_rate <= 0) {
    config.learning_rate = auto_learning_rate(std::max<int64_t>(config.d, 1), config.total_steps);
    if (config.start_norm <= 0) config.start_norm = kAutoStartNorm;
  }
  return config;
}

SaeSpec spec_of(const SaeConfig& config) {
  const SaeSpec spec{.d = config.d,
                     .n = config.n,
                     .k = config.k,
                     .tied = config.tied,
                     .unit_norm = config.unit_norm,
                     .aux_k = config.aux_k,
                     .max_batch = config.batch,
                     .precision = config.precision};
  check_spec(spec);
  return spec;
}

}  // namespace

struct SaeTrainer::State {
  Device device;
  SaeConfig config;
  std::unique_ptr<SaeExecutor> executor;
  int64_t steps = 0;
  bool started = false;

  State(const Device& on, const SaeConfig& wanted)
      : device(on),
        config(resolve(wanted)),
        executor(with_memory_advice("lower --batch or --expansion, or train fewer --tap at once",
                                    [&] { return device.backend().make_sae(spec_of(config)); })) {}

  LrPlan plan() const { return {config.learning_rate, config.schedule, config.warmup, config.total_steps}; }
  void check_width(View<const float, 2> tokens) const;
  /// What the next step on `tokens` is made with.
  SaeStep next_step() const;
  /// Loads the starting values whose rows have the norm that reconstructs `batch` best.
  void load_best_start(const HostTensor& directions, const HostTensor& centre, double scale,
                       View<const float, 2> batch);
};

void SaeTrainer::State::check_width(View<const float, 2> tokens) const {
  if (tokens.shape[1] == config.d && tokens.shape[0] >= 1) return;
  throw ShapeError(fmt::format("tokens of shape [{}, {}] for an autoencoder of width {}", tokens.shape[0],
                               tokens.shape[1], config.d));
}

void SaeTrainer::State::load_best_start(const HostTensor& directions, const HostTensor& centre, double scale,
                                        View<const float, 2> batch) {
  const auto load = [&](double norm) {
    executor->load_sync(start_parameters(directions, norm, centre, scale, config.tied));
  };
  if (config.start_norm <= 0) {
    double least = std::numeric_limits<double>::infinity();
    config.start_norm = kStartNorms.back();
    for (double norm : kStartNorms) {
      load(norm);
      SaeEvalSums sums;
      executor->evaluate_sync(batch, 0, sums);
      if (sums.squared_error >= least) continue;
      least = sums.squared_error;
      config.start_norm = norm;
    }
  }
  load(config.start_norm);
}

SaeTrainer::SaeTrainer(const Device& device, const SaeConfig& config)
    : state_(std::make_unique<State>(device, config)) {}
SaeTrainer::~SaeTrainer() = default;
SaeTrainer::SaeTrainer(SaeTrainer&&) noexcept = default;

void SaeTrainer::start_sync(View<const float, 2> sample, View<const float, 2> batch, Stream& stream) {
  state_->check_width(sample);
  start_sync(model::rows_to_host_sync(state_->device.backend(), stream, sample), batch, stream);
}

void SaeTrainer::start_sync(const HostTensor& tokens, View<const float, 2> batch, Stream& stream) {
  state_->check_width(tokens.matrix());
  state_->check_width(batch);
  const double scale = start_scale(tokens.matrix());
  const HostTensor centre = start_centre(tokens.matrix(), scale, state_->config.centre);
  const SaeConfig& config = state_->config;
  stream.synchronize();
  state_->load_best_start(random_directions(config.n, config.d, config.seed, config.stream), centre, scale,
                          batch.rows(0, std::min(batch.shape[0], config.batch)));
  state_->started = true;
}

SaeStep SaeTrainer::State::next_step() const {
  SaeStep step;
  step.adam_step = steps + 1;
  step.learning_rate = static_cast<float>(learning_rate_at(plan(), step.adam_step));
  step.dead_after = config.dead_after;
  step.aux_alpha = config.aux_k > 0 ? static_cast<float>(config.aux_alpha) : 0.0F;
  return step;
}

void SaeTrainer::step(View<const float, 2> tokens, Stream& stream) {
  SaeTrainer* const self = this;
  step_group({&self, 1}, {&tokens, 1}, stream);
}

void SaeTrainer::step_group(std::span<SaeTrainer* const> trainers,
                            std::span<const View<const float, 2>> tokens, Stream& stream) {
  std::vector<SaeExecutor*> saes;
  std::vector<SaeStep> steps;
  for (size_t i = 0; i < trainers.size(); ++i) {
    State& state = *trainers[i]->state_;
    if (!state.started)
      trainers[i]->start_sync(tokens[i].rows(0, std::min(tokens[i].shape[0], kStartSample)), tokens[i],
                              stream);
    state.check_width(tokens[i]);
    saes.push_back(state.executor.get());
    steps.push_back(state.next_step());
  }
  if (trainers.empty()) return;
  trainers.front()->state_->device.backend().step_group(stream, saes, tokens, steps);
  for (SaeTrainer* trainer : trainers) ++trainer->state_->steps;
}

bool SaeTrainer::started() const {
  return state_->started;
}

SaeStats SaeTrainer::read_stats_sync() {
  return state_->executor->read_stats_sync();
}

int64_t SaeTrainer::steps() const {
  return state_->steps;
}

double SaeTrainer::learning_rate() const {
  return state_->steps > 0 ? learning_rate(state_->steps) : 0;
}

double SaeTrainer::learning_rate(int64_t step) const {
  return learning_rate_at(state_->plan(), step);
}

const SaeConfig& SaeTrainer::config() const {
  return state_->config;
}

SaeTrainerState SaeTrainer::state_sync() const {
  return {state_->executor->parameters_sync(), state_->executor->optimizer_sync(), state_->steps,
          state_->config.start_norm};
}

void SaeTrainer::load_sync(const SaeTrainerState& state) {
  state_->executor->load_sync(state.parameters);
  state_->executor->load_optimizer_sync(state.optimizer);
  state_->steps = state.steps;
  state_->config.start_norm = state.start_norm;
  state_->started = true;
}

SaeExecutor& SaeTrainer::executor() {
  return *state_->executor;
}

}  // namespace branchsae
