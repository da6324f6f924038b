// Parameters and optimizer state between the host's unpadded tensors and the device.
#include <algorithm>
#include <limits>
#include <vector>

#include "cuda/device.h"
#include "cuda/error.h"
#include "cuda/sae/cuda_sae.h"

namespace branchsae::cuda {

void CudaSae::start_sync() {
  const SaeDesc& sae = plan_.training;
  check(cudaMemsetAsync(memory_.data(), 0, static_cast<size_t>(memory_.size_bytes()), stream_.handle()),
        "clear the memory of an autoencoder");
  const std::vector<float> padding(static_cast<size_t>(sae.n_padded - sae.n),
                                   -std::numeric_limits<float>::infinity());
  if (!padding.empty()) {
    check(cudaMemcpyAsync(sae.b_enc + sae.n, padding.data(), padding.size() * sizeof(float),
                          cudaMemcpyHostToDevice, stream_.handle()),
          "copy the padding of b_enc to the device");
  }
  stream_.synchronize();
}

// An empty tensor stands for zeros.
void CudaSae::upload_rows(const HostTensor& tensor, float* rows) const {
  const auto pitch = static_cast<size_t>(plan_.training.d_padded) * sizeof(float);
  const size_t width = static_cast<size_t>(spec_.d) * sizeof(float), height = static_cast<size_t>(spec_.n);
  if (tensor.empty()) {
    check(cudaMemsetAsync(rows, 0, pitch * height, stream_.handle()), "clear rows of an autoencoder");
    return;
  }
  check(cudaMemcpy2DAsync(rows, pitch, tensor.data(), width, width, height, cudaMemcpyHostToDevice,
                          stream_.handle()),
        "copy rows of an autoencoder to the device");
}

void CudaSae::upload_vector(const HostTensor& tensor, float* values, int64_t count) const {
  const size_t bytes = static_cast<size_t>(count) * sizeof(float);
  if (tensor.empty()) {
    check(cudaMemsetAsync(values, 0, bytes, stream_.handle()), "clear a vector of an autoencoder");
    return;
  }
  check(cudaMemcpyAsync(values, tensor.data(), bytes, cudaMemcpyHostToDevice, stream_.handle()),
        "copy a vector of an autoencoder to the device");
}

HostTensor CudaSae::download_rows(const float* rows) const {
  HostTensor tensor({spec_.n, spec_.d});
  const size_t width = static_cast<size_t>(spec_.d) * sizeof(float);
  check(cudaMemcpy2DAsync(tensor.data(), width, rows,
                          static_cast<size_t>(plan_.training.d_padded) * sizeof(float), width,
                          static_cast<size_t>(spec_.n), cudaMemcpyDeviceToHost, stream_.handle()),
        "copy rows of an autoencoder to the host");
  return tensor;
}

HostTensor CudaSae::download_vector(const float* values, int64_t count) const {
  HostTensor tensor({count});
  check(cudaMemcpyAsync(tensor.data(), values, tensor.values().size_bytes(), cudaMemcpyDeviceToHost,
                        stream_.handle()),
        "copy a vector of an autoencoder to the host");
  return tensor;
}

void CudaSae::load_sync(const SaeParameters& parameters) {
  check_parameters(spec_, parameters);
  plan_.training.scale = plan_.inference.scale = parameters.scale;
  ++version_;
  const SaeDesc& sae = plan_.training;
  SaeState state = state_sync(sae);
  state.flags = 0;
  state.bad_step = 0;
  use_sync([&] {
    upload_rows(parameters.w, sae.w);
    if (!spec_.tied) upload_rows(parameters.w_dec, sae.w_dec);
    round_weights(stream_.handle(), sae);
    upload_vector(parameters.b_enc, sae.b_enc, spec_.n);
    upload_vector(parameters.b_pre, sae.b_pre, spec_.d);
    training_->describe(stream_.handle(), {&plan_.training, 1});
    inference_->describe(stream_.handle(), {&plan_.inference, 1});
  });
  set_state_sync(sae, state);
}

SaeParameters CudaSae::parameters_sync() const {
  const SaeDesc& sae = plan_.training;
  SaeParameters result;
  use_sync([&] {
    result.w = download_rows(sae.w);
    if (!spec_.tied) result.w_dec = download_rows(sae.w_dec);
    result.b_enc = download_vector(sae.b_enc, spec_.n);
    result.b_pre = download_vector(sae.b_pre, spec_.d);
  });
  result.scale = sae.scale;
  return result;
}

void CudaSae::load_optimizer_sync(const SaeOptimizerState& host) {
  check_optimizer(spec_, host);
  const SaeDesc& sae = plan_.training;
  SaeState state = state_sync(sae);
  state.tokens_seen = host.tokens_seen;
  std::vector<int64_t> last_fired = host.last_fired;
  last_fired.resize(static_cast<size_t>(spec_.n));
  use_sync([&] {
    upload_rows(host.m_w, sae.m_w);
    upload_rows(host.v_w, sae.v_w);
    if (!spec_.tied) {
      upload_rows(host.m_w_dec, sae.m_w_dec);
      upload_rows(host.v_w_dec, sae.v_w_dec);
    }
    upload_vector(host.m_b_enc, sae.m_b_enc, spec_.n);
    upload_vector(host.v_b_enc, sae.v_b_enc, spec_.n);
    upload_vector(host.m_b_pre, sae.m_b_pre, spec_.d);
    upload_vector(host.v_b_pre, sae.v_b_pre, spec_.d);
    check(cudaMemcpyAsync(sae.last_fired, last_fired.data(), last_fired.size() * sizeof(int64_t),
                          cudaMemcpyHostToDevice, stream_.handle()),
          "copy last_fired to the device");
  });
  set_state_sync(sae, state);
}

SaeOptimizerState CudaSae::optimizer_sync() const {
  const SaeDesc& sae = plan_.training;
  SaeOptimizerState host;
  host.last_fired.resize(static_cast<size_t>(spec_.n));
  use_sync([&] {
    host.m_w = download_rows(sae.m_w);
    host.v_w = download_rows(sae.v_w);
    if (!spec_.tied) {
      host.m_w_dec = download_rows(sae.m_w_dec);
      host.v_w_dec = download_rows(sae.v_w_dec);
    }
    host.m_b_enc = download_vector(sae.m_b_enc, spec_.n);
    host.v_b_enc = download_vector(sae.v_b_enc, spec_.n);
    host.m_b_pre = download_vector(sae.m_b_pre, spec_.d);
    host.v_b_pre = download_vector(sae.v_b_pre, spec_.d);
    check(cudaMemcpyAsync(host.last_fired.data(), sae.last_fired, host.last_fired.size() * sizeof(int64_t),
                          cudaMemcpyDeviceToHost, stream_.handle()),
          "copy last_fired to the host");
  });
  host.tokens_seen = state_sync(sae).tokens_seen;
  return host;
}

}  // namespace branchsae::cuda
