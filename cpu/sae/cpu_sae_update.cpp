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

// sums[j] = rows[0][j] + rows[1][j] + ...
void add_columns(const float* rows, int64_t count, int64_t width, double* sums) {
  std::fill_n(sums, width, 0.0);
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t j = 0; j < width; ++j) sums[j] += static_cast<double>(rows[i * width + j]);
  }
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

// Which thread takes a task does not change the result, since every sum runs over its tokens in order.
void CpuSae::update(const Batch& batch, const SaeStep& step, const GradientTarget* target) {
  const AdamFactors adam = adam_factors(step);
  const int64_t tasks = layout_.update_tasks(), first = layout_.first_update_tasks();
  half_tasks_.start(layout_.ranges + tasks - first, layout_.ranges + first);
  update_tasks_.start(first, tasks - first);
#pragma omp parallel num_threads(threads_)
  {
    const int thread = omp_get_thread_num();
    FlushDenormals flush;
    const double start = thread_seconds();
    if (layout_.halves) {
      while (const auto task = half_tasks_.take(thread)) sum_half(*task, batch);
#pragma omp barrier
    }
    update_ranges(batch, adam, target);
    times_[static_cast<size_t>(thread)].update += thread_seconds() - start;
  }
}

// Called by every thread.
void CpuSae::update_ranges(const Batch& batch, const AdamFactors& adam, const GradientTarget* target) {
  const int thread = omp_get_thread_num();
#pragma omp for schedule(static)
  for (int64_t range = 0; range < layout_.ranges; ++range) {
    const int64_t first = range * layout_.range, count = layout_.range_latents(range);
    std::fill_n(bias_gradients_.data() + first, count, 0.0F);
    std::fill_n(fired_.data() + first, count, uint8_t{0});
    if (keeps_partials()) {
      sum_partial_biases(range);
    } else {
      sum_biases(range, {0, batch.size()}, bias_gradients_.data(), fired_.data());
    }
  }
  // Mostly the same thread takes the same task each step: its moments are still in its cache.
  while (const auto taken = update_tasks_.take(thread)) {
    const int64_t task = taken->number + taken->half * layout_.first_update_tasks();
    update_range(task, batch, adam, target, work_[static_cast<size_t>(thread)]);
  }
}

void CpuSae::update_range(int64_t task, const Batch& batch, const AdamFactors& adam,
                          const GradientTarget* target, TileWorkspace& work) {
  const auto [range, slice] = rows_of(task);
  if (layout_.scheme == GradientScheme::kScatter) {
    sum_partials(range, work);
  } else {
    const int64_t size = layout_.range_latents(range) * layout_.slice_width(slice);
    std::fill_n(work.gradient.data(), size, 0.0F);
    if (!spec_.tied) std::fill_n(work.gradient_dec.data(), size, 0.0F);
    sum_pairs(range, slice, layout_.halves ? tokens_of(batch, half_of(task)) : Tokens{0, batch.size()},
              work.gradient.data(), spec_.tied ? nullptr : work.gradient_dec.data());
    if (layout_.halves) add_other_half(range, slice, work);
  }
  for_each_block(range, slice, work, [&](const Block& block) { update_block(block, batch, adam, target); });
}

CpuSae::Tokens CpuSae::tokens_of(const Batch& batch, int64_t half) const {
  const int64_t middle = std::min(layout_.half_tiles(batch.size()) * layout_.tile, batch.size());
  if (half == 0) return {0, middle};
  return {middle, batch.size() - middle};
}

// Halves: a thread updates all of a row, which the next encode asks of it. Else the residuals of one slice
// come by for range after range.
CpuSae::Rows CpuSae::rows_of(int64_t task) const {
  if (layout_.halves) return {task / layout_.slices, task % layout_.slices};
  return {task % layout_.ranges, task / layout_.ranges};
}

// Whose tokens are summed when the task's rows are updated; the sums of the other half's are ready then.
int64_t CpuSae::half_of(int64_t task) const {
  return task < layout_.first_update_tasks() ? 0 : 1;
}

// What a half does for all: its biases of each range, and its gradient of the rows that the other half
// updates.
void CpuSae::sum_half(const HalfTasks::Task& task, const Batch& batch) {
  const Tokens tokens = tokens_of(batch, task.half);
  if (task.number < layout_.ranges) {
    const int64_t begin = task.half * spec_.n;
    return sum_biases(task.number, tokens, partial_b_enc_.data() + begin, partial_fired_.data() + begin);
  }
  const int64_t first = task.half == 0 ? layout_.first_update_tasks() : 0;
  const auto [range, slice] = rows_of(first + task.number - layout_.ranges);
  const int64_t offset = layout_.moment_offset(slice, range * layout_.range);
  sum_pairs(range, slice, tokens, partial_.data() + offset,
            spec_.tied ? nullptr : partial_dec_.data() + offset);
}

void CpuSae::add_other_half(int64_t range, int64_t slice, TileWorkspace& work) {
  const int64_t size = layout_.range_latents(range) * layout_.slice_width(slice);
  const int64_t offset = layout_.moment_offset(slice, range * layout_.range);
  kernels_.move_sums(partial_.data() + offset, work.gradient.data(), size);
  if (!spec_.tied) kernels_.move_sums(partial_dec_.data() + offset, work.gradient_dec.data(), size);
}

// Adds to db_enc of a range, and marks which of its latents fired.
void CpuSae::sum_biases(int64_t range, const Tokens& tokens, float* b_enc, uint8_t* fired) const {
  const RangePairs pairs = pairs_.of_range(range, tokens.first, tokens.count);
  for_each_pair(pairs, [&](int64_t i) {
    b_enc[pairs.latents[i]] += pairs.g[i];
    fired[pairs.latents[i]] = 1;
  });
  if (dead_count_ == 0) return;
  // These do not count as firing.
  const RangePairs aux = pairs_.of_range(range, spec_.max_batch + tokens.first, tokens.count);
  for_each_pair(aux, [&](int64_t i) { b_enc[aux.latents[i]] += aux.g[i]; });
}

// Partial biases of a half in the order in which they add up.
std::span<const int32_t> CpuSae::bias_slots(int64_t half) const {
  static constexpr int32_t kHalf[HalfTasks::kHalves] = {0, 1};
  if (layout_.halves) return {kHalf + half, 1};
  return plan_.slots(half);
}

void CpuSae::sum_partial_biases(int64_t range) {
  const int64_t first = range * layout_.range, end = first + layout_.range_latents(range);
  for (int64_t i = first; i < end; ++i) {
    for (int64_t half = 0; half < HalfTasks::kHalves; ++half) {
      float sum = 0;
      for (const int32_t slot : bias_slots(half)) {
        sum += std::exchange(partial_b_enc_[slot * spec_.n + i], 0.0F);
        fired_[i] |= std::exchange(partial_fired_[slot * spec_.n + i], uint8_t{0});
      }
      bias_gradients_[i] += sum;
    }
  }
}

// Adds the pairs of some tokens to one slice of the gradient of a range's rows, [range's latents, width].
void CpuSae::sum_pairs(int64_t range, int64_t slice, const Tokens& tokens, float* rows,
                       float* rows_dec) const {
  const int64_t width = layout_.slice_width(slice);
  const auto add = [&](int64_t first) {
    const float* residuals = slices_.data() + (slice * slice_rows() + first) * 2 * layout_.slice;
    kernels_.add_pairs(
        {pairs_.of_range(range, first, tokens.count), residuals, layout_.slice, width, rows, rows_dec});
  };
  add(tokens.first);
  if (dead_count_ > 0) add(spec_.max_batch + tokens.first);
}

// The gradient of a range's rows from the partial gradients.
void CpuSae::sum_partials(int64_t range, TileWorkspace& work) {
  const int64_t begin = range * layout_.range * layout_.d_padded;
  const auto first = plan_.slots(0), second = plan_.slots(1);
  SumPartials sum{partial_.data() + begin,
                  spec_.n * layout_.d_padded,
                  {first.data(), second.data()},
                  {std::ssize(first), std::ssize(second)},
                  layout_.range_latents(range) * layout_.d_padded,
                  work.gradient.data()};
  kernels_.sum_partials(sum);
  if (spec_.tied) return;
  sum.partials = partial_dec_.data() + begin, sum.target = work.gradient_dec.data();
  kernels_.sum_partials(sum);
}

void CpuSae::update_block(const Block& block, const Batch& batch, const AdamFactors& adam,
                          const GradientTarget* target) {
  float* b_pre_sums = panel_b_pre_.data() + block.first / kPanel * layout_.d_padded + block.column;
  std::fill_n(b_pre_sums, block.width, 0.0F);
  if (target != nullptr) return copy_gradient(block, b_pre_sums, *target);
  apply_rows(block, adam, b_pre_sums);
  pack_block(block.first / kPanel, block.slice, block.gradient, block.width);
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
                     threads_ > 1,
                     moments_.m_w.data() + moment,
                     moments_.v_w.data() + moment,
                     bias_gradients_.data() + block.first,
                     b_pre_sums,
                     squares,
                     adam};
  update_rows(encoder, spec_.tied && spec_.unit_norm);
  if (spec_.tied) return;
  alignas(64) float unused[kPanel];
  const UpdateRows decoder{block.gradient_dec,
                           block.count,
                           block.width,
                           parameters_.w_dec.data() + offset,
                           layout_.d_padded,
                           threads_ > 1,
                           moments_.m_w_dec.data() + moment,
                           moments_.v_w_dec.data() + moment,
                           nullptr,
                           nullptr,
                           unused,
                           adam};
  update_rows(decoder, spec_.unit_norm);
}

// The new rows are also left where the gradient was.
void CpuSae::update_rows(const UpdateRows& update, bool unit_norm) const {
  if (!unit_norm) return kernels_.update_rows(update);
  for (int64_t i = 0; i < update.rows; ++i)
    project(update.gradient + i * update.width, update.w + i * update.w_stride, update.width);
  kernels_.update_rows(update);
  for (int64_t i = 0; i < update.rows; ++i) {
    float* row = update.gradient + i * update.width;
    normalise(row, update.width);
    std::copy_n(row, update.width, update.w + i * update.w_stride);
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
void CpuSae::pre_bias_gradient(const Batch& batch, float* gradient) {
  const int64_t width = layout_.d_padded;
  double* residual = column_sums_.data();
  double* encoder = residual + width;
  add_columns(tile_residual_sums_.data(), layout_.tiles(batch.size()), width, residual);
  add_columns(panel_b_pre_.data(), layout_.panels, width, encoder);
  for (int64_t j = 0; j < width; ++j)
    gradient[j] = static_cast<float>(static_cast<double>(batch.error_factor) * residual[j] - encoder[j]);
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

SaeStats CpuSae::batch_stats(const Batch& batch) {
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
  add_columns(tile_token_sums_.data(), tiles, layout_.d_padded, column_sums_.data());
  for (int64_t j = 0; j < layout_.d; ++j) squared_sum += column_sums_[j] * column_sums_[j];
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
