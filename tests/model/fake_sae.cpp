#include "tests/model/fake_sae.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/error.h"
#include "tests/model/fake_stream.h"

namespace branchsae::test {
namespace {

struct Active {
  int64_t latent;
  float value;
};

class FakeSae : public SaeExecutor {
 public:
  FakeSae(const SaeSpec& spec, bool freezes) : spec_(spec), freezes_(freezes) {
    check_spec(spec);
    parameters_ = {HostTensor({spec.n, spec.d}), {}, HostTensor({spec.n}), HostTensor({spec.d}), 1.0F};
    optimizer_ = {HostTensor({spec.n, spec.d}),
                  HostTensor({spec.n, spec.d}),
                  {},
                  {},
                  HostTensor({spec.n}),
                  HostTensor({spec.n}),
                  HostTensor({spec.d}),
                  HostTensor({spec.d}),
                  std::vector<int64_t>(static_cast<size_t>(spec.n), 0),
                  0};
    if (!spec.tied) {
      for (HostTensor* tensor : {&parameters_.w_dec, &optimizer_.m_w_dec, &optimizer_.v_w_dec}) {
        *tensor = HostTensor({spec.n, spec.d});
      }
    }
  }

  const SaeSpec& spec() const override { return spec_; }
  void load_sync(const SaeParameters& parameters) override {
    finish();
    parameters_ = clone(parameters);
  }
  SaeParameters parameters_sync() const override {
    finish();
    return clone(parameters_);
  }
  void load_optimizer_sync(const SaeOptimizerState& state) override {
    finish();
    optimizer_ = clone(state);
  }
  SaeOptimizerState optimizer_sync() const override {
    finish();
    return clone(optimizer_);
  }

  void step(Stream& stream, View<const float, 2> tokens, const SaeStep& step) override {
    if (tokens.shape[0] > spec_.max_batch || tokens.shape[1] != spec_.d)
      throw ShapeError("fake: shape of tokens");
    stream_ = &stream;
    enqueue(stream, [this, tokens, step] { run_step(tokens, step); });
  }

  SaeStats read_stats_sync() override {
    finish();
    SaeStats stats = stats_;
    stats_ = {};
    stats_.dead = stats.dead;
    return stats;
  }
  void encode(Stream&, View<const float, 2> tokens, View<float, 2> values,
              View<int32_t, 2> indices) override {
    for (int64_t t = 0; t < tokens.shape[0]; ++t) {
      const std::vector<Active> active = select(centred(tokens.row(t)), values.shape[1]);
      for (int64_t slot = 0; slot < values.shape[1]; ++slot) {
        const bool used = slot < static_cast<int64_t>(active.size());
        values(t, slot) = used ? active[static_cast<size_t>(slot)].value : 0.0F;
        indices(t, slot) = used ? static_cast<int32_t>(active[static_cast<size_t>(slot)].latent) : -1;
      }
    }
  }
  void decode(Stream&, View<const float, 2>, View<const int32_t, 2>, View<float, 2>) override {
    throw Error("fake: decode");
  }

  void evaluate_sync(View<const float, 2> tokens, int64_t k, SaeEvalSums& sums) override {
    if (tokens.shape[0] > spec_.max_batch) throw ShapeError("fake: too many tokens");
    const auto d = static_cast<size_t>(spec_.d);
    if (sums.channel_sum.empty()) {
      for (auto* values : {&sums.channel_sum, &sums.channel_squared_sum, &sums.channel_squared_error}) {
        values->assign(d, 0.0);
      }
      sums.fired.assign(static_cast<size_t>(spec_.n), 0);
    }
    for (int64_t t = 0; t < tokens.shape[0]; ++t) add_token(tokens.row(t), k > 0 ? k : spec_.k, sums);
  }
  SaeGradients gradients_sync(View<const float, 2> tokens, const SaeStep&) override {
    return compute(tokens, false);
  }
  std::string description() const override { return "fake"; }
  int64_t memory_bytes() const override { return 0; }

 private:
  void finish() const {
    if (stream_ != nullptr) stream_->synchronize();
  }

  void run_step(View<const float, 2> tokens, const SaeStep& step) {
    if (bad_step_ > 0) return;
    count_variance(tokens);
    SaeGradients gradients = compute(tokens, true);
    // What so large a rate comes to on real autoencoders after many steps.
    if (step.learning_rate >= 1000 && step.adam_step >= 6) stats_.saw_nan = true;
    if (freezes_ && stats_.saw_nan) {
      stats_.bad_step = bad_step_ = step.adam_step;
      return;
    }
    if (!spec_.tied) adam(parameters_.w_dec, gradients.w_dec, optimizer_.m_w_dec, optimizer_.v_w_dec, step);
    adam(parameters_.w, gradients.w, optimizer_.m_w, optimizer_.v_w, step);
    adam(parameters_.b_enc, gradients.b_enc, optimizer_.m_b_enc, optimizer_.v_b_enc, step);
    adam(parameters_.b_pre, gradients.b_pre, optimizer_.m_b_pre, optimizer_.v_b_pre, step);
    stats_.dead = std::ranges::count_if(optimizer_.last_fired, [&](int64_t fired) {
      return optimizer_.tokens_seen - fired >= step.dead_after;
    });
  }

  static HostTensor clone_or_empty(const HostTensor& tensor) {
    return tensor.empty() ? HostTensor() : tensor.clone();
  }
  static SaeParameters clone(const SaeParameters& p) {
    return {p.w.clone(), clone_or_empty(p.w_dec), p.b_enc.clone(), p.b_pre.clone(), p.scale};
  }
  static SaeOptimizerState clone(const SaeOptimizerState& s) {
    return {s.m_w.clone(),     s.v_w.clone(),     clone_or_empty(s.m_w_dec), clone_or_empty(s.v_w_dec),
            s.m_b_enc.clone(), s.v_b_enc.clone(), s.m_b_pre.clone(),         s.v_b_pre.clone(),
            s.last_fired,      s.tokens_seen};
  }

  std::vector<float> centred(const float* token) const {
    std::vector<float> x(static_cast<size_t>(spec_.d));
    for (int64_t c = 0; c < spec_.d; ++c) {
      x[static_cast<size_t>(c)] = parameters_.scale * token[c] - parameters_.b_pre[c];
    }
    return x;
  }

  std::vector<Active> select(const std::vector<float>& x, int64_t k) const {
    std::vector<Active> active;
    for (int64_t i = 0; i < spec_.n; ++i) {
      const float* row = parameters_.w.matrix().row(i);
      const float u = std::inner_product(x.begin(), x.end(), row, parameters_.b_enc[i]);
      if (u > 0) active.push_back({i, u});
    }
    const auto kept = std::min(active.size(), static_cast<size_t>(k));
    std::ranges::stable_sort(active, std::greater<>(), &Active::value);
    active.resize(kept);
    std::ranges::sort(active, {}, &Active::latent);
    return active;
  }

  /// r = W_dec^T z - xc
  std::vector<float> residual(const std::vector<float>& x, const std::vector<Active>& active) const {
    const HostTensor& decoder = spec_.tied ? parameters_.w : parameters_.w_dec;
    std::vector<float> r(x.size());
    for (size_t c = 0; c < x.size(); ++c) r[c] = -x[c];
    for (const Active& a : active) {
      const float* row = decoder.matrix().row(a.latent);
      for (size_t c = 0; c < x.size(); ++c) r[c] += a.value * row[c];
    }
    return r;
  }

  SaeGradients compute(View<const float, 2> tokens, bool count) {
    const HostTensor& decoder = spec_.tied ? parameters_.w : parameters_.w_dec;
    SaeGradients g{HostTensor({spec_.n, spec_.d}), {}, HostTensor({spec_.n}), HostTensor({spec_.d})};
    if (!spec_.tied) g.w_dec = HostTensor({spec_.n, spec_.d});
    HostTensor& decoder_gradient = spec_.tied ? g.w : g.w_dec;
    const auto batch = static_cast<float>(tokens.shape[0]);
    std::vector<int64_t> fired;
    for (int64_t t = 0; t < tokens.shape[0]; ++t) {
      const std::vector<float> x = centred(tokens.row(t));
      const std::vector<Active> active = select(x, spec_.k);
      const std::vector<float> r = residual(x, active);
      const double squared = std::inner_product(r.begin(), r.end(), r.begin(), 0.0);
      g.loss += squared / batch;
      if (count) {
        stats_.squared_error += squared;
        stats_.active += static_cast<double>(active.size());
        if (std::isnan(squared)) stats_.saw_nan = true;
      }
      for (size_t c = 0; c < r.size(); ++c) g.b_pre[static_cast<int64_t>(c)] += 2 * r[c] / batch;
      for (const Active& a : active) {
        const float* row = decoder.matrix().row(a.latent);
        const float slope = 2 * std::inner_product(r.begin(), r.end(), row, 0.0F) / batch;
        for (size_t c = 0; c < x.size(); ++c) {
          decoder_gradient.matrix().row(a.latent)[c] += a.value * 2 * r[c] / batch;
          g.w.matrix().row(a.latent)[c] += slope * x[c];
        }
        g.b_enc[a.latent] += slope;
        fired.push_back(a.latent);
      }
    }
    for (int64_t i = 0; i < spec_.n; ++i) {
      for (int64_t c = 0; c < spec_.d; ++c) g.b_pre[c] -= g.b_enc[i] * parameters_.w.matrix()(i, c);
    }
    if (count) {
      stats_.tokens += tokens.shape[0];
      optimizer_.tokens_seen += tokens.shape[0];
      for (int64_t latent : fired)
        optimizer_.last_fired[static_cast<size_t>(latent)] = optimizer_.tokens_seen;
    }
    return g;
  }

  void count_variance(View<const float, 2> tokens) {
    for (int64_t c = 0; c < spec_.d; ++c) {
      double sum = 0, squares = 0;
      for (int64_t t = 0; t < tokens.shape[0]; ++t) {
        const double x = static_cast<double>(parameters_.scale) * tokens(t, c);
        sum += x;
        squares += x * x;
      }
      stats_.total_variance += squares - sum * sum / static_cast<double>(tokens.shape[0]);
    }
  }

  static void adam(HostTensor& p, const HostTensor& g, HostTensor& m, HostTensor& v, const SaeStep& step) {
    const double correct1 = 1 - std::pow(step.beta1, step.adam_step);
    const double correct2 = 1 - std::pow(step.beta2, step.adam_step);
    for (int64_t i = 0; i < p.size(); ++i) {
      m[i] = step.beta1 * m[i] + (1 - step.beta1) * g[i];
      v[i] = step.beta2 * v[i] + (1 - step.beta2) * g[i] * g[i];
      p[i] -= static_cast<float>(step.learning_rate * (m[i] / correct1) /
                                 (std::sqrt(v[i] / correct2) + step.epsilon));
    }
  }

  void add_token(const float* token, int64_t k, SaeEvalSums& sums) const {
    const std::vector<float> x = centred(token);
    const std::vector<Active> active = select(x, k);
    const std::vector<float> r = residual(x, active);
    double dot = 0, x_norm = 0, x_hat_norm = 0;
    for (size_t c = 0; c < x.size(); ++c) {
      const double value = token[c], error = r[c] / parameters_.scale, x_hat = value + error;
      sums.squared_error += error * error;
      sums.channel_squared_error[c] += error * error;
      sums.channel_sum[c] += value;
      sums.channel_squared_sum[c] += value * value;
      dot += value * x_hat;
      x_norm += value * value;
      x_hat_norm += x_hat * x_hat;
    }
    sums.squared_norm += x_norm;
    if (x_norm > 0 && x_hat_norm > 0) sums.cosine += dot / std::sqrt(x_norm * x_hat_norm);
    sums.active += static_cast<double>(active.size());
    for (const Active& a : active) ++sums.fired[static_cast<size_t>(a.latent)];
    ++sums.tokens;
  }

  SaeSpec spec_;
  bool freezes_;
  int64_t bad_step_ = 0;
  Stream* stream_ = nullptr;  ///< of the latest step
  SaeParameters parameters_;
  SaeOptimizerState optimizer_;
  SaeStats stats_;
};

}  // namespace

std::unique_ptr<SaeExecutor> make_fake_sae(const SaeSpec& spec, bool freezes) {
  return std::make_unique<FakeSae>(spec, freezes);
}

}  // namespace branchsae::test
