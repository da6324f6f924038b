// From the gradients of single tokens to new parameters: rows are summed and updated while they are in cache.
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "cpu/sae/cpu_sae.h"
#include "cpu/sae/denormals.h"

namespace branchsae::cpu {
namespace {

// Cost of updating one row's slice, in pairs summed.
constexpr int64_t kUpdateCost = 12;
// Rows whose slices are fetched ahead: slices of a row-major W are too short for the processor's own
// prefetching.
constexpr int64_t kRowsAhead = 8;

void prefetch(const float* data, int64_t count) {
  for (int64_t j = 0; j < count; j += kLanes) __builtin_prefetch(data + j, 1, 2);
}

AdamFactors adam_factors(const SaeStep& step) {
  const double bias1 = 1.0 - std::pow(static_cast<double>(step.beta1), static_cast<double>(step.adam_step));
  const double bias2 = 1.0 - std::pow(static_cast<double>(step.beta2), static_cast<double>(step.adam_step));
  return {step.beta1, step.beta2, step.epsilon,
          static_cast<float>(static_cast<double>(step.learning_rate) / bias1),
          static_cast<float>(1.0 / bias2)};
}

double dot(const float* a, const float* b, int64_t count) {
  double sum = 0;
  for (int64_t j = 0; j < count; ++j) sum += static_cast<double>(a[j]) * static_cast<double>(b[j]);
  return sum;
}

// Removes from the gradient what would only change the length of a unit row.
void project(float* gradient, const float* row, int64_t count) {
  const auto along = static_cast<float>(dot(gradient, row, count));
  for (int64_t j = 0; j < count; ++j) gradient[j] -= along * row[j];
}

void normalise(float* row, int64_t count) {
  const double squares = dot(row, row, count);
  if (!(squares > 0)) return;  // a zero row has no direction to keep
  const auto factor = static_cast<float>(1.0 / std::sqrt(squares));
  for (int64_t j = 0; j < count; ++j) row[j] *= factor;
}

}  // namespace

// Blocks are one panel of one slice, ordered by slice so that a thread stays in few slices; the split among
// threads follows the work and does not change the result.
void CpuSae::update(const Batch& batch, const SaeStep& step, const GradientTarget* target) {
  const bool sorted = layout_.scheme == GradientScheme::kSorted;
  const int64_t aux_rows = dead_count_ > 0 ? batch.size() : 0;
  const AdamFactors adam = adam_factors(step);
#pragma omp parallel num_threads(threads_)
  {
    const int thread = omp_get_thread_num(), threads = omp_get_num_threads();
    FlushDenormals flush;
    SaeStepTimes& times = times_[static_cast<size_t>(thread)];
    double start = thread_seconds();
    if (sorted) {
      sort_.run(pairs_, batch.size(), spec_.max_batch, aux_rows, thread, threads);
      times.sort += thread_seconds() - start;
      start = thread_seconds();
    }
    const auto cost_before = [&](int64_t panel) {
      const int64_t latent = std::min(panel * kPanel, spec_.n);
      return kUpdateCost * latent + (sorted ? sort_.begin(latent) - sort_.begin(0) : 0);
    };
    const int64_t slice_cost = cost_before(layout_.panels), cost = slice_cost * layout_.slices;
    const int64_t begin = cost * thread / threads, end = cost * (thread + 1) / threads;
    for (int64_t s = 0; s < layout_.slices; ++s) {
      for (int64_t q = 0; q < layout_.panels; ++q) {
        const int64_t position = s * slice_cost + cost_before(q);
        if (position < begin || position >= end) continue;
        update_block(q, s, batch, adam, target, work_[static_cast<size_t>(thread)]);
      }
    }
    times.update += thread_seconds() - start;
  }
}

void CpuSae::update_block(int64_t panel, int64_t slice, const Batch& batch, const AdamFactors& adam,
                          const GradientTarget* target, TileWorkspace& work) {
  const int64_t first = panel * kPanel, count = std::min(kPanel, spec_.n - first);
  const int64_t column = layout_.slice_begin(slice), width = layout_.slice_width(slice);
  float* b_pre_sums = panel_b_pre_.data() + panel * layout_.d_padded + column;
  std::fill_n(b_pre_sums, width, 0.0F);
  alignas(64) float bias_gradients[kPanel] = {};
  uint8_t fired[kPanel] = {};
  float* squares = row_squares_.data() + slice * layout_.n_padded() + first;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t latent = first + i, ahead = std::min(latent + kRowsAhead, spec_.n - 1);
    prefetch(parameters_.w.data() + ahead * layout_.d_padded + column, width);
    if (!spec_.tied) prefetch(parameters_.w_dec.data() + ahead * layout_.d_padded + column, width);
    bias_gradients[i] = latent_gradient(latent, slice, work);
    if (slice == 0) fired[i] = latent_fired(latent, batch) ? 1 : 0;
    kernels_.add_scaled(bias_gradients[i], parameters_.w.data() + latent * layout_.d_padded + column,
                        b_pre_sums, width);
    if (target == nullptr) {
      squares[i] = apply_row(latent, slice, adam, work);
      continue;
    }
    const int64_t real = std::min(width, layout_.d - column), offset = latent * layout_.d + column;
    std::copy_n(work.gradient.data(), real, target->w + offset);
    if (target->w_dec != nullptr) std::copy_n(work.gradient_dec.data(), real, target->w_dec + offset);
  }
  if (target != nullptr) {
    if (slice == 0) std::copy_n(bias_gradients, count, target->b_enc + first);
    return;
  }
  pack_block(panel, slice);
  if (slice == 0) update_biases(panel, bias_gradients, fired, batch, adam);
}

// One slice of the gradient of a latent's rows into work.gradient (and gradient_dec); returns its db_enc.
float CpuSae::latent_gradient(int64_t latent, int64_t slice, TileWorkspace& work) {
  float* dec = spec_.tied ? nullptr : work.gradient_dec.data();
  if (layout_.scheme == GradientScheme::kSorted) {
    const int64_t rows = spec_.max_batch * (spec_.aux_k > 0 ? 2 : 1);
    return kernels_.sum_pairs({sort_.begin(latent), sort_.count(latent),
                               slices_.data() + slice * rows * 2 * layout_.slice, layout_.slice,
                               layout_.slice_width(slice), work.gradient.data(), dec});
  }
  const int64_t row = latent * layout_.d_padded, stride = spec_.n * layout_.d_padded;
  kernels_.sum_partials(partial_.data() + row, stride, kPartials, layout_.d_padded, work.gradient.data());
  if (dec != nullptr)
    kernels_.sum_partials(partial_dec_.data() + row, stride, kPartials, layout_.d_padded, dec);
  float sum = 0;
  for (int64_t q = 0; q < kPartials; ++q) sum += std::exchange(partial_b_enc_[q * spec_.n + latent], 0.0F);
  return sum;
}

bool CpuSae::latent_fired(int64_t latent, const Batch& batch) {
  if (layout_.scheme == GradientScheme::kSorted) {
    // Pairs of AuxK come after those of the tokens themselves and do not count.
    return sort_.count(latent) > 0 && sort_.begin(latent)->token < batch.size();
  }
  bool fired = false;
  for (int64_t q = 0; q < kPartials; ++q)
    fired = std::exchange(partial_fired_[q * spec_.n + latent], uint8_t{0}) != 0 || fired;
  return fired;
}

// Adam on one slice of one latent's rows; returns the sum of squares of the new encoder weights.
float CpuSae::apply_row(int64_t latent, int64_t slice, const AdamFactors& adam, TileWorkspace& work) {
  const int64_t width = layout_.slice_width(slice), moment = layout_.moment_offset(slice, latent);
  const int64_t offset = latent * layout_.d_padded + layout_.slice_begin(slice);
  float* w = parameters_.w.data() + offset;
  if (spec_.tied && spec_.unit_norm) project(work.gradient.data(), w, width);
  float squares = kernels_.update_weights(
      {work.gradient.data(), w, moments_.m_w.data() + moment, moments_.v_w.data() + moment, width, adam});
  if (spec_.tied) {
    if (!spec_.unit_norm) return squares;
    normalise(w, width);
    return 1.0F;
  }
  float* w_dec = parameters_.w_dec.data() + offset;
  if (spec_.unit_norm) project(work.gradient_dec.data(), w_dec, width);
  kernels_.update_weights({work.gradient_dec.data(), w_dec, moments_.m_w_dec.data() + moment,
                           moments_.v_w_dec.data() + moment, width, adam});
  if (spec_.unit_norm) normalise(w_dec, width);
  return squares;
}

void CpuSae::update_biases(int64_t panel, const float* gradients, const uint8_t* fired, const Batch& batch,
                           const AdamFactors& adam) {
  const int64_t first = panel * kPanel, count = std::min(kPanel, spec_.n - first);
  kernels_.update_weights({gradients, parameters_.b_enc.data() + first, moments_.m_b_enc.data() + first,
                           moments_.v_b_enc.data() + first, count, adam});
  const int64_t now = tokens_seen_ + batch.size();
  for (int64_t i = 0; i < count; ++i) {
    if (fired[i] != 0) last_fired_[first + i] = now;
  }
}

// db_pre = sum_t e_t - sum_i db_enc_i W_i
void CpuSae::pre_bias_gradient(const Batch& batch, float* gradient) const {
  const int64_t tiles = layout_.tiles(batch.size());
  for (int64_t j = 0; j < layout_.d_padded; ++j) {
    double residual = 0, encoder = 0;
    for (int64_t tile = 0; tile < tiles; ++tile)
      residual += static_cast<double>(tile_residual_sums_[tile * layout_.d_padded + j]);
    for (int64_t q = 0; q < layout_.panels; ++q)
      encoder += static_cast<double>(panel_b_pre_[q * layout_.d_padded + j]);
    gradient[j] = static_cast<float>(static_cast<double>(batch.error_factor) * residual - encoder);
  }
}

void CpuSae::finish(const Batch& batch, const SaeStep& step) {
  pre_bias_gradient(batch, b_pre_gradient_.data());
  {
    FlushDenormals flush;
    kernels_.update_weights({b_pre_gradient_.data(), parameters_.b_pre.data(), moments_.m_b_pre.data(),
                             moments_.v_b_pre.data(), layout_.d_padded, adam_factors(step)});
  }
  measure_weights();

  const SaeStats stats = batch_stats(batch);
  stats_.tokens += stats.tokens;
  stats_.squared_error += stats.squared_error;
  stats_.aux_error += stats.aux_error;
  stats_.total_variance += stats.total_variance;
  stats_.active += stats.active;
  stats_.saw_nan = stats_.saw_nan || stats.saw_nan;
  stats_.saw_inf = stats_.saw_inf || stats.saw_inf;
  tokens_seen_ += batch.size();
  dead_after_ = step.dead_after;
}

SaeStats CpuSae::batch_stats(const Batch& batch) const {
  SaeStats stats;
  stats.tokens = batch.size();
  double squared_tokens = 0;
  const int64_t tiles = layout_.tiles(batch.size());
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const TileSums& sums = tile_sums_[tile];
    stats.squared_error += sums.squared_error;
    stats.aux_error += sums.aux_error;
    stats.active += static_cast<double>(sums.active);
    squared_tokens += sums.squared_tokens;
    stats.saw_nan = stats.saw_nan || sums.flags.nan;
    stats.saw_inf = stats.saw_inf || sums.flags.inf;
  }
  // Centring on b_pre instead of the mean changes nothing: sum |x - mean|^2 = sum |xc|^2 - |sum xc|^2 / B.
  double squared_sum = 0;
  for (int64_t j = 0; j < layout_.d; ++j) {
    double sum = 0;
    for (int64_t tile = 0; tile < tiles; ++tile)
      sum += static_cast<double>(tile_token_sums_[tile * layout_.d_padded + j]);
    squared_sum += sum * sum;
  }
  stats.total_variance = squared_tokens - squared_sum / static_cast<double>(stats.tokens);
  const double loss = stats.squared_error + stats.aux_error;
  stats.saw_nan = stats.saw_nan || std::isnan(loss);
  stats.saw_inf = stats.saw_inf || std::isinf(loss);
  return stats;
}

int64_t CpuSae::count_dead(int64_t dead_after) const {
  int64_t dead = 0;
  for (int64_t i = 0; i < spec_.n; ++i) dead += tokens_seen_ - last_fired_[i] >= dead_after ? 1 : 0;
  return dead;
}

}  // namespace branchsae::cpu
