#include "tests/reference/sae.h"

#include <algorithm>
#include <cmath>

namespace branchsae::reference {
namespace {

std::vector<double> to_double(const HostTensor& tensor) {
  return {tensor.values().begin(), tensor.values().end()};
}

HostTensor to_tensor(const std::vector<double>& values, Shape shape) {
  const std::vector<float> narrow(values.begin(), values.end());
  return HostTensor(std::move(shape), narrow);
}

double dot(std::span<const double> a, std::span<const double> b) {
  double sum = 0;
  for (size_t j = 0; j < a.size(); ++j) sum += a[j] * b[j];
  return sum;
}

SaeVectors zeros(const SaeSpec& spec) {
  const auto weights = static_cast<size_t>(spec.n * spec.d);
  return {std::vector<double>(weights), std::vector<double>(spec.tied ? 0 : weights),
          std::vector<double>(static_cast<size_t>(spec.n)), std::vector<double>(static_cast<size_t>(spec.d))};
}

template <class Vector>
auto row_of(Vector& matrix, int64_t row, int64_t d) {
  return std::span(matrix).subspan(static_cast<size_t>(row * d), static_cast<size_t>(d));
}

void adam(const std::vector<double>& gradient, const SaeStep& step, std::vector<double>& w,
          std::vector<double>& m, std::vector<double>& v) {
  const auto beta1 = static_cast<double>(step.beta1), beta2 = static_cast<double>(step.beta2);
  const auto t = static_cast<double>(step.adam_step);
  for (size_t i = 0; i < w.size(); ++i) {
    m[i] = beta1 * m[i] + (1 - beta1) * gradient[i];
    v[i] = beta2 * v[i] + (1 - beta2) * gradient[i] * gradient[i];
    const double mean = m[i] / (1 - std::pow(beta1, t)), square = v[i] / (1 - std::pow(beta2, t));
    w[i] -= static_cast<double>(step.learning_rate) * mean /
            (std::sqrt(square) + static_cast<double>(step.epsilon));
  }
}

}  // namespace

Selection select_topk(std::span<const double> u, int64_t k) {
  Selection all;
  for (size_t i = 0; i < u.size(); ++i) {
    if (u[i] > 0) all.push_back({static_cast<int64_t>(i), u[i]});  // false for NaN
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const Selected& a, const Selected& b) { return a.value > b.value; });
  all.resize(std::min(all.size(), static_cast<size_t>(k)));
  std::sort(all.begin(), all.end(), [](const Selected& a, const Selected& b) { return a.latent < b.latent; });
  return all;
}

Sae::Sae(const SaeSpec& spec)
    : vectors(zeros(spec)),
      m(zeros(spec)),
      v(zeros(spec)),
      last_fired(static_cast<size_t>(spec.n)),
      spec_(spec) {}

void Sae::load(const SaeParameters& parameters) {
  vectors = {to_double(parameters.w), spec_.tied ? std::vector<double>() : to_double(parameters.w_dec),
             to_double(parameters.b_enc), to_double(parameters.b_pre)};
  scale = static_cast<double>(parameters.scale);
}

SaeParameters Sae::parameters() const {
  SaeParameters result;
  result.w = to_tensor(vectors.w, {spec_.n, spec_.d});
  if (!spec_.tied) result.w_dec = to_tensor(vectors.w_dec, {spec_.n, spec_.d});
  result.b_enc = to_tensor(vectors.b_enc, {spec_.n});
  result.b_pre = to_tensor(vectors.b_pre, {spec_.d});
  result.scale = static_cast<float>(scale);
  return result;
}

std::vector<double> Sae::centred(View<const float, 2> x) const {
  std::vector<double> xc;
  for (int64_t t = 0; t < x.shape[0]; ++t) {
    for (int64_t j = 0; j < spec_.d; ++j)
      xc.push_back(scale * static_cast<double>(x(t, j)) - vectors.b_pre[static_cast<size_t>(j)]);
  }
  return xc;
}

double Sae::value_now(int64_t latent, std::span<const double> xc) const {
  return dot(row_of(vectors.w, latent, spec_.d), xc) + vectors.b_enc[static_cast<size_t>(latent)];
}

std::vector<double> Sae::pre_activations(std::span<const double> xc) const {
  std::vector<double> u;
  for (int64_t i = 0; i < spec_.n; ++i) u.push_back(value_now(i, xc));
  return u;
}

std::vector<Selection> Sae::encode(View<const float, 2> x, int64_t k) const {
  const std::vector<double> xc = centred(x);
  std::vector<Selection> result;
  for (int64_t t = 0; t < x.shape[0]; ++t)
    result.push_back(select_topk(pre_activations(row_of(xc, t, spec_.d)), k));
  return result;
}

void Sae::add_decoded(const Selection& selected, std::span<double> target) const {
  for (const Selected& s : selected) {
    const auto row = row_of(decoder(), s.latent, spec_.d);
    for (size_t j = 0; j < target.size(); ++j) target[j] += s.value * row[j];
  }
}

void Sae::add_gradients(const Selection& selected, std::span<const double> xc, std::span<const double> e,
                        SaeVectors& gradients) const {
  for (const Selected& s : selected) {
    const double g = dot(row_of(decoder(), s.latent, spec_.d), e);
    const auto encoder_row = row_of(gradients.w, s.latent, spec_.d);
    const auto decoder_row = spec_.tied ? encoder_row : row_of(gradients.w_dec, s.latent, spec_.d);
    const auto weights = row_of(vectors.w, s.latent, spec_.d);
    for (size_t j = 0; j < xc.size(); ++j) {
      encoder_row[j] += g * xc[j];
      decoder_row[j] += s.value * e[j];
      gradients.b_pre[j] -= g * weights[j];
    }
    gradients.b_enc[static_cast<size_t>(s.latent)] += g;
  }
}

SaeResult Sae::gradients(View<const float, 2> x, const SaeStep& step,
                         const std::vector<Selection>* selected) const {
  const int64_t tokens = x.shape[0], d = spec_.d;
  const double per_token = 1.0 / static_cast<double>(tokens);
  const std::vector<double> xc = centred(x);
  SaeResult result;
  result.gradients = zeros(spec_);
  result.selected = selected != nullptr ? *selected : encode(x, spec_.k);
  result.residuals.resize(xc.size());
  for (int64_t t = 0; t < tokens; ++t) {
    const auto row = row_of(xc, t, d);
    const auto r = row_of(result.residuals, t, d);
    for (size_t j = 0; j < r.size(); ++j) r[j] = -row[j];
    add_decoded(result.selected[static_cast<size_t>(t)], r);
    result.loss += dot(r, r) * per_token;
    std::vector<double> e(r.begin(), r.end());
    for (double& value : e) value *= 2 * per_token;
    for (size_t j = 0; j < e.size(); ++j) result.gradients.b_pre[j] += e[j];
    add_gradients(result.selected[static_cast<size_t>(t)], row, e, result.gradients);
  }

  std::vector<bool> dead;
  for (const int64_t fired : last_fired) dead.push_back(tokens_seen - fired >= step.dead_after);
  if (spec_.aux_k == 0 || std::find(dead.begin(), dead.end(), true) == dead.end()) return result;
  const auto alpha = static_cast<double>(step.aux_alpha);
  for (int64_t t = 0; t < tokens; ++t) {
    const auto row = row_of(xc, t, d);
    std::vector<double> u = pre_activations(row);
    for (size_t i = 0; i < u.size(); ++i) u[i] = dead[i] ? u[i] : -1;
    result.aux_selected.push_back(select_topk(u, spec_.aux_k));
    const auto r = row_of(result.residuals, t, d);
    std::vector<double> e(r.begin(), r.end());
    add_decoded(result.aux_selected.back(), e);
    result.aux_loss += dot(e, e) * per_token;
    for (double& value : e) value *= 2 * alpha * per_token;
    add_gradients(result.aux_selected.back(), row, e, result.gradients);
  }
  return result;
}

double Sae::loss_near(View<const float, 2> x, double aux_alpha, const SaeResult& at) const {
  const std::vector<double> xc = centred(x);
  double sum = 0;
  for (int64_t t = 0; t < x.shape[0]; ++t) {
    const auto row = row_of(xc, t, spec_.d);
    const auto revalued = [&](Selection selected) {
      for (Selected& s : selected) s.value = value_now(s.latent, row);
      return selected;
    };
    std::vector<double> r(row.begin(), row.end());
    for (double& value : r) value = -value;
    add_decoded(revalued(at.selected[static_cast<size_t>(t)]), r);
    sum += dot(r, r);
    if (at.aux_selected.empty()) continue;
    const auto target = row_of(at.residuals, t, spec_.d);
    std::vector<double> ra(target.begin(), target.end());
    add_decoded(revalued(at.aux_selected[static_cast<size_t>(t)]), ra);
    sum += aux_alpha * dot(ra, ra);
  }
  return sum / static_cast<double>(x.shape[0]);
}

SaeResult Sae::step(View<const float, 2> x, const SaeStep& step) {
  SaeResult result = gradients(x, step);
  SaeVectors gradient = result.gradients;
  std::vector<double>& unit = spec_.tied ? vectors.w : vectors.w_dec;
  std::vector<double>& unit_gradient = spec_.tied ? gradient.w : gradient.w_dec;
  if (spec_.unit_norm) {
    for (int64_t i = 0; i < spec_.n; ++i) {
      const auto row = row_of(unit, i, spec_.d);
      const auto change = row_of(unit_gradient, i, spec_.d);
      const double along = dot(row, change);
      for (size_t j = 0; j < row.size(); ++j) change[j] -= along * row[j];
    }
  }
  adam(gradient.w, step, vectors.w, m.w, v.w);
  adam(gradient.w_dec, step, vectors.w_dec, m.w_dec, v.w_dec);
  adam(gradient.b_enc, step, vectors.b_enc, m.b_enc, v.b_enc);
  adam(gradient.b_pre, step, vectors.b_pre, m.b_pre, v.b_pre);
  if (spec_.unit_norm) {
    for (int64_t i = 0; i < spec_.n; ++i) {
      const auto row = row_of(unit, i, spec_.d);
      const double norm = std::sqrt(dot(row, row));
      for (double& value : row) value /= norm;
    }
  }
  tokens_seen += x.shape[0];
  for (const Selection& selected : result.selected) {
    for (const Selected& s : selected) last_fired[static_cast<size_t>(s.latent)] = tokens_seen;
  }
  return result;
}

}  // namespace branchsae::reference
