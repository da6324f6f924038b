#include "engine/sae.h"

#include <fmt/format.h>

#include "engine/error.h"

namespace branchsae {
namespace {

void check_shape(const HostTensor& tensor, const Shape& expected, const char* name) {
  if (tensor.shape() == expected) return;
  throw ShapeError(fmt::format("{} has shape {}, the autoencoder needs {}", name, to_string(tensor.shape()),
                               to_string(expected)));
}

}  // namespace

std::string to_string(SaePrecision precision) {
  if (precision == SaePrecision::kTf32) return "tf32";
  return precision == SaePrecision::kBf16 ? "bf16" : "fp32";
}

SaePrecision parse_sae_precision(std::string_view text) {
  for (const SaePrecision precision : {SaePrecision::kF32, SaePrecision::kTf32, SaePrecision::kBf16}) {
    if (text == to_string(precision)) return precision;
  }
  throw InputError(fmt::format("no precision is called '{}'; give fp32, tf32 or bf16", text));
}

void check_spec(const SaeSpec& spec) {
  constexpr int64_t kMostLatents = int64_t{1} << 31;  // indices are int32
  constexpr int64_t kMostElements = int64_t{1} << 40;
  if (spec.d < 1)
    throw InputError(fmt::format("an autoencoder's width d must be at least 1, not {}", spec.d));
  if (spec.n < 1 || spec.n >= kMostLatents) {
    throw InputError(
        fmt::format("an autoencoder's latents n must be in 1..{}, not {}", kMostLatents - 1, spec.n));
  }
  if (spec.k < 1 || spec.k > spec.n) {
    throw InputError(fmt::format("k must be in 1..n = {}, not {}", spec.n, spec.k));
  }
  if (spec.d > kMostElements / spec.n) {
    throw InputError(fmt::format("an autoencoder of {} x {} weights is too large", spec.n, spec.d));
  }
  if (spec.max_batch < 1) throw InputError(fmt::format("batch must be at least 1, not {}", spec.max_batch));
  if (spec.aux_k < 0 || spec.aux_k > spec.n) {
    throw InputError(fmt::format("auxk must be in 0..n = {}, not {}", spec.n, spec.aux_k));
  }
}

void check_parameters(const SaeSpec& spec, const SaeParameters& parameters) {
  check_shape(parameters.w, {spec.n, spec.d}, "W");
  if (!spec.tied) check_shape(parameters.w_dec, {spec.n, spec.d}, "W_dec");
  check_shape(parameters.b_enc, {spec.n}, "b_enc");
  check_shape(parameters.b_pre, {spec.d}, "b_pre");
}

void check_optimizer(const SaeSpec& spec, const SaeOptimizerState& state) {
  if (!state.last_fired.empty() && static_cast<int64_t>(state.last_fired.size()) != spec.n) {
    throw ShapeError(fmt::format("last_fired has {} entries, the autoencoder has {} latents",
                                 state.last_fired.size(), spec.n));
  }
  const auto check_moment = [](const HostTensor& tensor, const Shape& expected, const char* name) {
    if (!tensor.empty()) check_shape(tensor, expected, name);
  };
  check_moment(state.m_w, {spec.n, spec.d}, "m_W");
  check_moment(state.v_w, {spec.n, spec.d}, "v_W");
  if (!spec.tied) {
    check_moment(state.m_w_dec, {spec.n, spec.d}, "m_W_dec");
    check_moment(state.v_w_dec, {spec.n, spec.d}, "v_W_dec");
  }
  check_moment(state.m_b_enc, {spec.n}, "m_b_enc");
  check_moment(state.v_b_enc, {spec.n}, "v_b_enc");
  check_moment(state.m_b_pre, {spec.d}, "m_b_pre");
  check_moment(state.v_b_pre, {spec.d}, "v_b_pre");
}

void check_tokens(const SaeSpec& spec, View<const float, 2> tokens, int64_t most) {
  if (tokens.shape[1] == spec.d && tokens.shape[0] >= 1 && tokens.shape[0] <= most) return;
  throw ShapeError(fmt::format("tokens have shape {}, the autoencoder takes [1..{}, {}]",
                               to_string(tokens.shape), most, spec.d));
}

void check_selection(std::array<int64_t, 2> values, std::array<int64_t, 2> indices, int64_t tokens) {
  if (values == indices && values[0] == tokens && values[1] >= 1) return;
  throw ShapeError(fmt::format("values {} and indices {} must both be [{}, k] with k >= 1", to_string(values),
                               to_string(indices), tokens));
}

void check_decoded(const SaeSpec& spec, std::array<int64_t, 2> x_hat, int64_t tokens) {
  if (x_hat[0] == tokens && x_hat[1] == spec.d) return;
  throw ShapeError(fmt::format("x_hat has shape {}, it must be [{}, {}]", to_string(x_hat), tokens, spec.d));
}

void prepare_sums(const SaeSpec& spec, SaeEvalSums& sums) {
  const auto d = static_cast<size_t>(spec.d), n = static_cast<size_t>(spec.n);
  if (!sums.channel_sum.empty() && (sums.channel_sum.size() != d || sums.fired.size() != n)) {
    throw ShapeError(
        fmt::format("sums of an autoencoder of {} x {} cannot be added to those of one of {} x {}", n, d,
                    sums.fired.size(), sums.channel_sum.size()));
  }
  sums.channel_sum.resize(d);
  sums.channel_squared_sum.resize(d);
  sums.channel_squared_error.resize(d);
  sums.fired.resize(n);
}

}  // namespace branchsae
