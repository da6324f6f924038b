#include "tests/sae_cases/sae_cases.h"

#include "engine/random.h"

namespace branchsae::test {

HostTensor normal_tensor(Shape shape, double deviation, uint64_t seed) {
  HostTensor tensor(std::move(shape));
  Random random(seed, 1);
  for (float& value : tensor.values()) value = static_cast<float>(random.normal() * deviation);
  return tensor;
}

HostTensor integer_tensor(Shape shape, int most, uint64_t seed) {
  HostTensor tensor(std::move(shape));
  Random random(seed, 2);
  for (float& value : tensor.values())
    value = static_cast<float>(static_cast<int>(random.below(static_cast<uint64_t>(2 * most + 1))) - most);
  return tensor;
}

SaeParameters random_parameters(const SaeSpec& spec, uint64_t seed) {
  SaeParameters p;
  const double deviation = 0.5 / std::sqrt(static_cast<double>(spec.d));
  p.w = normal_tensor({spec.n, spec.d}, deviation, seed);
  if (!spec.tied) p.w_dec = normal_tensor({spec.n, spec.d}, deviation, seed + 100);
  p.b_enc = normal_tensor({spec.n}, 0.05, seed + 200);
  p.b_pre = normal_tensor({spec.d}, 0.3, seed + 300);
  p.scale = 1.25F;
  return p;
}

void normalise_decoder(const SaeSpec& spec, SaeParameters& parameters) {
  HostTensor& rows = spec.tied ? parameters.w : parameters.w_dec;
  for (int64_t i = 0; i < spec.n; ++i) {
    double squares = 0;
    for (int64_t j = 0; j < spec.d; ++j) squares += std::pow(static_cast<double>(rows[i * spec.d + j]), 2);
    for (int64_t j = 0; j < spec.d; ++j) rows[i * spec.d + j] /= static_cast<float>(std::sqrt(squares));
  }
}

SaeParameters clone(const SaeParameters& parameters) {
  return {parameters.w.clone(), parameters.w_dec.clone(), parameters.b_enc.clone(), parameters.b_pre.clone(),
          parameters.scale};
}

SaeSpec SameBytesSetup::spec(int64_t max_batch) const {
  SaeSpec spec;
  spec.d = d, spec.n = n, spec.k = k, spec.aux_k = aux_k;
  spec.tied = tied, spec.unit_norm = unit_norm, spec.max_batch = max_batch;
  return spec;
}

std::unique_ptr<SaeExecutor> make_loaded(const SaeSpec& spec, const SaeParameters& parameters, int threads) {
  auto sae = sae_backend(threads).make_sae(spec);
  sae->load_sync(parameters);
  return sae;
}

void step_sync(SaeExecutor& sae, View<const float, 2> tokens, const SaeStep& step) {
  const auto stream = sae_backend().make_stream();
  sae.step(*stream, tokens, step);
  stream->synchronize();
}

std::vector<reference::Selection> encode_lists(SaeExecutor& sae, View<const float, 2> tokens, int64_t k) {
  const int64_t rows = tokens.shape[0];
  auto values = sae_backend().buffer<float>(rows * k, "values");
  auto indices = sae_backend().buffer<int32_t>(rows * k, "indices");
  std::vector<float> host_values(static_cast<size_t>(rows * k));
  std::vector<int32_t> host_indices(host_values.size());
  const auto stream = sae_backend().make_stream();
  sae.encode(*stream, tokens, values.matrix(rows, k), indices.matrix(rows, k));
  sae_backend().copy_to_host(*stream, host_values.data(), values.data(), rows * k * 4);
  sae_backend().copy_to_host(*stream, host_indices.data(), indices.data(), rows * k * 4);
  stream->synchronize();
  std::vector<reference::Selection> lists(static_cast<size_t>(rows));
  for (size_t at = 0; at < host_values.size(); ++at) {
    if (host_indices[at] >= 0)
      lists[at / static_cast<size_t>(k)].push_back({host_indices[at], static_cast<double>(host_values[at])});
  }
  return lists;
}

std::vector<reference::Selection> encode_lists(SaeExecutor& sae, const HostTensor& tokens, int64_t k) {
  OnDevice<float> x(tokens);
  return encode_lists(sae, x.matrix(), k);
}

std::string bytes_of(const SaeExecutor& sae) {
  std::string bytes;
  const SaeParameters p = sae.parameters_sync();
  const SaeOptimizerState s = sae.optimizer_sync();
  for (const HostTensor* tensor : {&p.w, &p.w_dec, &p.b_enc, &p.b_pre, &s.m_w, &s.v_w, &s.m_w_dec, &s.v_w_dec,
                                   &s.m_b_enc, &s.v_b_enc, &s.m_b_pre, &s.v_b_pre}) {
    bytes.append(reinterpret_cast<const char*>(tensor->data()), tensor->values().size_bytes());
  }
  bytes.append(reinterpret_cast<const char*>(s.last_fired.data()), s.last_fired.size() * sizeof(int64_t));
  bytes.append(reinterpret_cast<const char*>(&s.tokens_seen), sizeof s.tokens_seen);
  return bytes;
}

}  // namespace branchsae::test
