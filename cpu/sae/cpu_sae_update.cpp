// From the gradients of single tokens to new parameters: rows are summed and updated while they are in cache.
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "cpu/sae/cpu_sae.h"
#include "cpu/sae/denormals.h"

namespace branchsae::cpu {
namespace {

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

// Calls body(i) for every pair, token after token.
template <class Body>
void for_each_pair(const RangePairs& pairs, const Body& body) {
  for (int64_t t = 0; t < pairs.tokens; ++t) {
    const int32_t* bounds = pairs.bounds + t * pairs.bounds_stride;
    const int64_t first = t * pairs.stride;
    for (int64_t i = first + bounds[0]; i < first + bounds[1]; ++i) body(i);
  }
}

}  // namespace

// Calls body(block) for the panels of a range, whose gradients lie one after the other.
template <class Body>
void CpuSae::for_each_block(int64_t range, int64_t slice, TileWorkspace& work, const Body& body) {
  const int64_t begin = range * layout_.range, end = begin + layout_.range_latents(range);
  const int64_t width = layout_.slice_width(slice);
  for (int64_t first = begin; first < end; first += kPanel) {
    const int64_t offset = (first - begin) * width;
    body({first, std::min(kPanel, end - first), layout_.slice_begin(slice), width, slice,
          work.gradient.data() + offset, spec_.tied ? nullptr : work.gradient_dec.data() + offset});
  }
}

// Tasks are ranges of one slice after the other; which thread takes one does not change the result, since
// every sum runs over the tokens in order.
void CpuSae::update(const Batch& batch, const SaeStep& step, const GradientTarget* target) {
  const AdamFactors adam = adam_factors(step);
  const int64_t tasks = layout_.ranges * layout_.slices;
#pragma omp parallel num_threads(threads_)
  {
    const auto thread = static_cast<size_t>(omp_get_thread_num());
    TileWorkspace& work = work_[thread];
    FlushDenormals flush;
    const double start = thread_seconds();
    const auto update_range = [&](int64_t range, int64_t slice) {
      sum_rows(range, slice, batch, work);
      for_each_block(range, slice, work,
                     [&](const Block& block) { update_block(block, batch, adam, target); });
    };
    if (layout_.scheme == GradientScheme::kScatter) {
      // The same thread each step: its part of the moments is still in its cache.
#pragma omp for schedule(static) nowait
      for (int64_t range = 0; range < layout_.ranges; ++range) {
        sum_biases(range, batch);
        update_range(range, 0);
      }
    } else {
#pragma omp for schedule(static)
      for (int64_t range = 0; range < layout_.ranges; ++range) sum_biases(range, batch);
#pragma omp for schedule(dynamic, 1) nowait
      for (int64_t task = 0; task < tasks; ++task) update_range(task % layout_.ranges, task / layout_.ranges);
    }
    times_[thread].update += thread_seconds() - start;
  }
}

// db_enc of a range, before any slice asks for it, and which of its latents fired.
void CpuSae::sum_biases(int64_t range, const Batch& batch) {
  const int64_t first = range * layout_.range, count = layout_.range_latents(range);
  std::fill_n(bias_gradients_.data() + first, count, 0.0F);
  std::fill_n(fired_.data() + first, count, uint8_t{0});
  if (layout_.scheme == GradientScheme::kScatter) return sum_partial_biases(first, count);
  const RangePairs pairs = pairs_.of_range(range, 0, batch.size());
  for_each_pair(pairs, [&](int64_t i) {
    bias_gradients_[pairs.latents[i]] += pairs.g[i];
    fired_[pairs.latents[i]] = 1;
  });
  if (dead_count_ == 0) return;
  const RangePairs aux =
      pairs_.of_range(range, spec_.max_batch, batch.size());  // these do not count as firing
  for_each_pair(aux, [&](int64_t i) { bias_gradients_[aux.latents[i]] += aux.g[i]; });
}

void CpuSae::sum_partial_biases(int64_t first, int64_t count) {
  for (int64_t i = first; i < first + count; ++i) {
    for (int64_t half = 0; half < PartialPlan::kHalves; ++half) {
      float sum = 0;
      for (const int32_t slot : plan_.slots(half)) {
        sum += partial_b_enc_[slot * spec_.n + i];
        fired_[i] |= partial_fired_[slot * spec_.n + i];
      }
      bias_gradients_[i] += sum;
    }
  }
}

// One slice of the gradient of a range's rows into work.gradient (and gradient_dec).
void CpuSae::sum_rows(int64_t range, int64_t slice, const Batch& batch, TileWorkspace& work) {
  const int64_t width = layout_.slice_width(slice), size = layout_.range_latents(range) * width;
  float* dec = spec_.tied ? nullptr : work.gradient_dec.data();
  if (layout_.scheme == GradientScheme::kScatter) {
    const int64_t row = range * layout_.range * width;
    const auto first = plan_.slots(0), second = plan_.slots(1);
    SumPartials sum{partial_.data() + row,
                    spec_.n * width,
                    {first.data(), second.data()},
                    {std::ssize(first), std::ssize(second)},
                    size,
                    work.gradient.data()};
    kernels_.sum_partials(sum);
    if (dec == nullptr) return;
    sum.partials = partial_dec_.data() + row, sum.target = dec;
    kernels_.sum_partials(sum);
    return;
  }
  std::fill_n(work.gradient.data(), size, 0.0F);
  if (dec != nullptr) std::fill_n(dec, size, 0.0F);
  const auto add = [&](int64_t first_row) {
    const float* rows = slices_.data() + (slice * slice_rows() + first_row) * 2 * layout_.slice;
    kernels_.add_pairs({pairs_.of_range(range, first_row, batch.size()), rows, layout_.slice, width,
                        work.gradient.data(), dec});
  };
  add(0);
  if (dead_count_ > 0) add(spec_.max_batch);
}

void CpuSae::update_block(const Block& block, const Batch& batch, const AdamFactors& adam,
                          const GradientTarget* target) {
  float* b_pre_sums = panel_b_pre_.data() + block.first / kPanel * layout_.d_padded + block.column;
  std::fill_n(b_pre_sums, block.width, 0.0F);
  if (target != nullptr) return copy_gradient(block, b_pre_sums, *target);
  apply_rows(block, adam, b_pre_sums);
  pack_block(block.first / kPanel, block.slice);
  if (block.slice == 0) update_biases(block, batch, adam);
}

// Adam on the rows of a block.
void CpuSae::apply_rows(const Block& block, const AdamFactors& adam, float* b_pre_sums) {
  const int64_t moment = layout_.moment_offset(block.slice, block.first);
  const int64_t offset = block.first * layout_.d_padded + block.column;
  float* squares = row_squares_.data() + block.slice * layout_.n_padded() + block.first;
  UpdateRows encoder{block.gradient,
                     block.count,
                     block.width,
                     parameters_.w.data() + offset,
                     layout_.d_padded,
                     moments_.m_w.data() + moment,
                     moments_.v_w.data() + moment,
                     bias_gradients_.data() + block.first,
                     b_pre_sums,
                     squares,
                     adam};
  update_rows(encoder, block.gradient, spec_.tied && spec_.unit_norm);
  if (spec_.tied) return;
  alignas(64) float unused[kPanel];
  const UpdateRows decoder{block.gradient_dec,
                           block.count,
                           block.width,
                           parameters_.w_dec.data() + offset,
                           layout_.d_padded,
                           moments_.m_w_dec.data() + moment,
                           moments_.v_w_dec.data() + moment,
                           nullptr,
                           nullptr,
                           unused,
                           adam};
  update_rows(decoder, block.gradient_dec, spec_.unit_norm);
}

// `gradient` is that of `update`, which may be changed.
void CpuSae::update_rows(const UpdateRows& update, float* gradient, bool unit_norm) const {
  if (unit_norm) {
    for (int64_t i = 0; i < update.rows; ++i)
      project(gradient + i * update.width, update.w + i * update.w_stride, update.width);
  }
  kernels_.update_rows(update);
  if (!unit_norm) return;
  for (int64_t i = 0; i < update.rows; ++i) {
    normalise(update.w + i * update.w_stride, update.width);
    update.squares[i] = 1.0F;
  }
}

void CpuSae::copy_gradient(const Block& block, float* b_pre_sums, const GradientTarget& target) {
  const int64_t real = std::min(block.width, layout_.d - block.column);
  for (int64_t i = 0; i < block.count; ++i) {
    const int64_t latent = block.first + i, offset = latent * layout_.d + block.column;
    kernels_.add_scaled(bias_gradients_[latent],
                        parameters_.w.data() + latent * layout_.d_padded + block.column, b_pre_sums,
                        block.width);
    std::copy_n(block.gradient + i * block.width, real, target.w + offset);
    if (target.w_dec != nullptr)
      std::copy_n(block.gradient_dec + i * block.width, real, target.w_dec + offset);
    if (block.slice == 0) target.b_enc[latent] = bias_gradients_[latent];
  }
}

void CpuSae::update_biases(const Block& block, const Batch& batch, const AdamFactors& adam) {
  const int64_t first = block.first, now = tokens_seen_ + batch.size();
  kernels_.update_weights({bias_gradients_.data() + first, parameters_.b_enc.data() + first,
                           moments_.m_b_enc.data() + first, moments_.v_b_enc.data() + first, block.count,
                           adam});
  for (int64_t i = first; i < first + block.count; ++i) {
    if (fired_[i] != 0) last_fired_[i] = now;
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
