#include "cuda/sae/cuda_sae.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "cuda/device.h"
#include "cuda/error.h"
#include "cuda/memory.h"
#include "cuda/sae/inference.h"
#include "engine/error.h"

namespace branchsae::cuda {
namespace {

std::string encode_text(const SaeDesc& sae) {
  switch (main_encode_variant(sae).route) {
    case EncodeRoute::kTensor:
      return "selection beside the encode's product";
    case EncodeRoute::kSm90a:
      return "selection beside the encode's product (sm_90a)";
    case EncodeRoute::kChunked:
      return "selection from chunks of tokens";
  }
  return "";
}

std::string gradient_text(const SaeDesc& sae) {
  const TiedDwVariant variant = tied_dw_variant(sae);
  return variant.rows > 0 ? fmt::format("gradient rows by groups of {} tokens", variant.rows)
                          : "gradient rows gathered from all tokens";
}

/// The memory of `workspace`, or an error that says what would fit.
DeviceMemory allocate_all(int device, const SaeSpec& spec, const Workspace& workspace) {
  try {
    return allocate(device, workspace.size_bytes(), "autoencoder");
  } catch (const MemoryError& error) {
    throw MemoryError(no_room_message(spec, workspace, fmt::format("cuda:{}", device), memory_free(device)),
                      error.what());
  }
}

}  // namespace

CudaSae::CudaSae(int device, const SaeSpec& spec) : spec_(spec), device_(device), stream_(device) {
  const CurrentDevice current(device);
  Workspace sizes;
  plan_sae(spec, sizes);
  memory_ = allocate_all(device, spec, sizes);
  Workspace pieces(memory_.data());
  plan_ = plan_sae(spec, pieces);
  start_sync();
  prepare_encode_sync(stream_.handle(), plan_.training);
  training_ = std::make_unique<SaeLaunches>(device, std::span(&plan_.training, 1));
  inference_ = std::make_unique<SaeLaunches>(device, std::span(&plan_.inference, 1));
  own_event_ = std::make_shared<CudaEvent>();
  use_sync([&] { inference_->rehearse(stream_.handle()); });
  note_slow_k(spec.k);
}

CudaSae::~CudaSae() = default;

SaeBatch CudaSae::plain_batch(View<const float, 2> tokens) const {
  SaeBatch batch{};
  batch.tokens = tokens.data;
  batch.row_stride = tokens.stride[0];
  batch.column_stride = tokens.stride[1];
  batch.rows = static_cast<int32_t>(tokens.shape[0]);
  batch.error_only = 1;
  return batch;
}

SaeBatch CudaSae::batch_of(View<const float, 2> tokens, const SaeStep& step) const {
  check_tokens(spec_, tokens, spec_.max_batch);
  const double bias1 = 1.0 - std::pow(static_cast<double>(step.beta1), static_cast<double>(step.adam_step));
  const double bias2 = 1.0 - std::pow(static_cast<double>(step.beta2), static_cast<double>(step.adam_step));
  const auto size = static_cast<float>(tokens.shape[0]);
  SaeBatch batch = plain_batch(tokens);
  batch.error_only = 0;
  batch.error_factor = 2.0F / size;
  batch.aux_error_factor = spec_.aux_k > 0 ? 2.0F * step.aux_alpha / size : 0.0F;
  batch.beta1 = step.beta1;
  batch.beta2 = step.beta2;
  batch.epsilon = step.epsilon;
  batch.step_size = static_cast<float>(static_cast<double>(step.learning_rate) / bias1);
  batch.square_correction = static_cast<float>(1.0 / bias2);
  batch.adam_step = step.adam_step;
  batch.dead_after = step.dead_after;
  return batch;
}

void CudaSae::begin_use(cudaStream_t stream) const {
  if (last_use_ != nullptr) last_use_->make_wait(stream);
}

void CudaSae::end_use(std::shared_ptr<CudaEvent> done, const SaeStep* trained) const {
  last_use_ = std::move(done);
  if (trained != nullptr) dead_after_ = trained->dead_after;
}

void CudaSae::use(cudaStream_t stream, const std::function<void()>& enqueue) const {
  begin_use(stream);
  // What was enqueued before an error still runs, and whoever comes next must wait for it.
  try {
    enqueue();
  } catch (...) {
    own_event_->record_quietly(stream);
    end_use(own_event_);
    throw;
  }
  own_event_->record(stream);
  end_use(own_event_);
}

void CudaSae::use_sync(const std::function<void()>& enqueue) const {
  const CurrentDevice current(device_);
  use(stream_.handle(), enqueue);
  stream_.synchronize();
}

void CudaSae::step(Stream& stream, View<const float, 2> tokens, const SaeStep& step) {
  const SaeBatch batch = batch_of(tokens, step);
  const cudaStream_t to = cuda_stream(stream, device_).handle();
  const CurrentDevice current(device_);
  use(to, [&] {
    training_->set_batches(to, {&batch, 1});
    training_->step(to);
  });
  dead_after_ = step.dead_after;
}

SaeState CudaSae::state_sync(const SaeDesc& sae) const {
  SaeState state{};
  use_sync([&] {
    check(cudaMemcpyAsync(&state, sae.state, sizeof state, cudaMemcpyDeviceToHost, stream_.handle()),
          "copy the state of an autoencoder to the host");
  });
  return state;
}

void CudaSae::set_state_sync(const SaeDesc& sae, const SaeState& state) const {
  use_sync([&] {
    check(cudaMemcpyAsync(sae.state, &state, sizeof state, cudaMemcpyHostToDevice, stream_.handle()),
          "copy the state of an autoencoder to the device");
  });
}

void CudaSae::check_fault_sync() const {
  uint32_t fault = 0;
  use_sync([&] {
    check(cudaMemcpyAsync(&fault, plan_.fault, sizeof fault, cudaMemcpyDeviceToHost, stream_.handle()),
          "copy the flags of decode to the host");
    check(cudaMemsetAsync(plan_.fault, 0, sizeof fault, stream_.handle()), "clear the flags of decode");
  });
  if (fault != 0)
    throw InputError(
        fmt::format("a latent index given to decode was outside 0..{} (-1: unused)", spec_.n - 1));
}

SaeStats CudaSae::read_stats_sync() {
  check_fault_sync();
  use_sync([&] { count_dead(stream_.handle(), training_->descriptions(), dead_after_); });
  SaeState state = state_sync(plan_.training);
  SaeStats stats;
  stats.tokens = state.tokens;
  stats.squared_error = state.squared_error;
  stats.aux_error = state.aux_error;
  stats.total_variance = state.total_variance;
  stats.active = static_cast<double>(state.active);
  stats.dead = state.dead_count;
  stats.saw_nan = (state.flags & kSawNan) != 0;
  stats.saw_inf = (state.flags & kSawInf) != 0;
  stats.bad_step = state.bad_step;
  state.tokens = state.active = 0;
  state.squared_error = state.aux_error = state.total_variance = 0;
  set_state_sync(plan_.training, state);
  return stats;
}

SaeGradients CudaSae::gradients_sync(View<const float, 2> tokens, const SaeStep& step) {
  SaeBatch batch = batch_of(tokens, step);
  batch.error_only = 1;
  // A state of its own: neither sums nor flags of the training change.
  SaeState state{};
  state.tokens_seen = state_sync(plan_.training).tokens_seen;
  set_state_sync(plan_.inference, state);
  const int64_t n = spec_.n, d = spec_.d, decoder = spec_.tied ? 0 : n * d;
  const DeviceMemory memory = allocate(device_, (n * d + decoder + n + d) * 4, "gradients");
  auto* w = static_cast<float*>(memory.data());
  const GradientArrays arrays{w, spec_.tied ? nullptr : w + n * d, w + n * d + decoder,
                              w + n * d + decoder + n};
  SaeGradients gradients{HostTensor({n, d}), spec_.tied ? HostTensor() : HostTensor({n, d}), HostTensor({n}),
                         HostTensor({d})};
  StepSums sums{};
  use_sync([&] {
    const cudaStream_t to = stream_.handle();
    inference_->set_batches(to, {&batch, 1});
    inference_->gather(to);
    inference_->forward(to);
    inference_->backward(to, arrays);
    const auto download = [&](void* host, const void* from, size_t size_bytes) {
      if (size_bytes == 0) return;
      check(cudaMemcpyAsync(host, from, size_bytes, cudaMemcpyDeviceToHost, to),
            "copy gradients to the host");
    };
    download(gradients.w.data(), arrays.w, gradients.w.values().size_bytes());
    download(gradients.w_dec.data(), arrays.w_dec, gradients.w_dec.values().size_bytes());
    download(gradients.b_enc.data(), arrays.b_enc, gradients.b_enc.values().size_bytes());
    download(gradients.b_pre.data(), arrays.b_pre, gradients.b_pre.values().size_bytes());
    download(&sums, plan_.inference.step_sums, sizeof sums);
  });
  gradients.loss = sums.squared_error / static_cast<double>(batch.rows);
  gradients.aux_loss = sums.aux_error / static_cast<double>(batch.rows);
  return gradients;
}

std::string CudaSae::description() const {
  return fmt::format("{}, {}, {}", to_string(spec_.precision), encode_text(plan_.training),
                     gradient_text(plan_.training));
}

int64_t CudaSae::memory_bytes() const {
  int64_t sum =
      memory_.size_bytes() + training_->memory_bytes() + inference_->memory_bytes() + scratch_.size_bytes();
  for (const auto& [variant, list] : encode_lists_) sum += list.size_bytes();
  return sum;
}

}  // namespace branchsae::cuda
