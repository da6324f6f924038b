// Forward and backward pass of a batch, tile by tile, up to the gradients of single tokens.
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "cpu/sae/cpu_sae.h"

namespace branchsae::cpu {
namespace {

// One tile in so many is timed.
constexpr int64_t kTimedTiles = 4;

}  // namespace

void CpuSae::step(Stream&, View<const float, 2> tokens, const SaeStep& step) {
  check_tokens(spec_, tokens, spec_.max_batch);
  const float size = static_cast<float>(tokens.shape[0]);
  const Batch batch{tokens, 2.0F / size, 2.0F * step.aux_alpha / size};
  refresh_shifted_bias();
  refresh_fixed();
  find_dead(step);
  forward_backward(batch);
  update(batch, step, nullptr);
  finish(batch, step);
}

SaeGradients CpuSae::gradients_sync(View<const float, 2> tokens, const SaeStep& step) {
  check_tokens(spec_, tokens, spec_.max_batch);
  const float size = static_cast<float>(tokens.shape[0]);
  const Batch batch{tokens, 2.0F / size, 2.0F * step.aux_alpha / size};
  refresh_shifted_bias();
  refresh_fixed();
  find_dead(step);
  forward_backward(batch);
  SaeGradients gradients;
  gradients.w = HostTensor({spec_.n, spec_.d});
  if (!spec_.tied) gradients.w_dec = HostTensor({spec_.n, spec_.d});
  gradients.b_enc = HostTensor({spec_.n});
  gradients.b_pre = HostTensor({spec_.d});
  const GradientTarget target{gradients.w.data(), spec_.tied ? nullptr : gradients.w_dec.data(),
                              gradients.b_enc.data()};
  update(batch, step, &target);
  pre_bias_gradient(batch, b_pre_gradient_.data());
  std::copy_n(b_pre_gradient_.data(), spec_.d, gradients.b_pre.data());
  const SaeStats stats = batch_stats(batch);
  gradients.loss = stats.squared_error / static_cast<double>(batch.size());
  gradients.aux_loss = stats.aux_error / static_cast<double>(batch.size());
  return gradients;
}

void CpuSae::find_dead(const SaeStep& step) {
  dead_count_ = 0;
  if (spec_.aux_k == 0) return;
  for (int64_t i = 0; i < spec_.n; ++i) {
    if (tokens_seen_ - last_fired_[i] >= step.dead_after) dead_[dead_count_++] = static_cast<int32_t>(i);
  }
  if (dead_count_ > 0) pack_dead_panels();
}

void CpuSae::pack_dead_panels() {
  const int64_t d = layout_.d, panels = divide_up(dead_count_, kPanel);
#pragma omp parallel for num_threads(threads_) schedule(static)
  for (int64_t q = 0; q < panels; ++q) {
    float* panel = dead_panels_.data() + q * d * kPanel;
    for (int64_t i = 0; i < kPanel; ++i) {
      const int64_t position = q * kPanel + i;
      const bool real = position < dead_count_;
      dead_bias_[position] = real ? shifted_bias_[dead_[position]] : -std::numeric_limits<float>::infinity();
      const float* row = parameters_.w.data() + (real ? dead_[position] : 0) * layout_.d_padded;
      for (int64_t j = 0; j < d; ++j) panel[j * kPanel + i] = real ? row[j] : 0.0F;
    }
    if (dead_pairs_.size() == 0) continue;
    alignas(64) float roundings[kPanel];  // no larger than those of all rows
    kernels_.round_panel({panel, d, dead_pairs_.data() + q * divide_up(d, 2) * kPanel, roundings});
  }
}

Panels CpuSae::dead_panels() const {
  Panels dead = panels();
  dead.weights = dead_panels_.data();
  if (dead.pairs != nullptr) dead.pairs = dead_pairs_.data();
  dead.bias = dead_bias_.data();
  dead.fixed = nullptr;
  dead.count = divide_up(dead_count_, kPanel);
  dead.latents = dead_count_;
  dead.map = dead_.data();
  return dead;
}

void CpuSae::forward_backward(const Batch& batch) {
  if (layout_.scheme == GradientScheme::kScatter) return scatter_parts(batch);
  run_halves(batch);
}

void CpuSae::run_halves(const Batch& batch) {
  const int64_t tiles = layout_.tiles(batch.size()), first = layout_.half_tiles(batch.size());
  half_tasks_.start(first, tiles - first);
#pragma omp parallel num_threads(threads_)
  {
    const int thread = omp_get_thread_num();
    const auto place = static_cast<size_t>(thread);
    while (const auto task = half_tasks_.take(thread))
      run_tile(batch, task->half * first + task->number, 0, work_[place], times_[place]);
  }
}

// Sums of a part are in token order whatever thread takes it.
void CpuSae::scatter_parts(const Batch& batch) {
  const int64_t tiles = layout_.tiles(batch.size());
  plan_.start();
#pragma omp parallel num_threads(threads_)
  {
    const int thread = omp_get_thread_num();
    const auto place = static_cast<size_t>(thread);
    while (const auto part = plan_.take(thread)) {
      const int64_t end = PartialPlan::first_tile(part->number + 1, tiles);
      for (int64_t tile = PartialPlan::first_tile(part->number, tiles); tile < end; ++tile)
        run_tile(batch, tile, part->slot, work_[place], times_[place]);
      if (part->merge) merge_partial(part->slot, part->first_slot());
      plan_.finish(*part, thread);
    }
  }
}

void CpuSae::merge_partial(int64_t from, int64_t to) {
  const int64_t n = spec_.n, size = n * layout_.d_padded;
  kernels_.move_sums(partial_.data() + from * size, partial_.data() + to * size, size);
  if (!spec_.tied)
    kernels_.move_sums(partial_dec_.data() + from * size, partial_dec_.data() + to * size, size);
  for (int64_t i = 0; i < n; ++i) {
    partial_b_enc_[to * n + i] += std::exchange(partial_b_enc_[from * n + i], 0.0F);
    partial_fired_[to * n + i] |= std::exchange(partial_fired_[from * n + i], uint8_t{0});
  }
}

void CpuSae::run_tile(const Batch& batch, int64_t tile, int64_t partial, TileWorkspace& work,
                      SaeStepTimes& times) {
  // Asking for the processor time of a thread is a system call.
  const bool timed = tile % kTimedTiles == 0;
  const double share = static_cast<double>(std::min(kTimedTiles, layout_.tiles(batch.size()) - tile));
  const auto seconds = [&] { return timed ? share * thread_seconds() : 0.0; };
  const double start = seconds();
  const int64_t first = tile * layout_.tile, rows = std::min(layout_.tile, batch.size() - first);
  const View<const float, 2> x = batch.tokens.rows(first, rows);
  TileSums sums;
  float* token_sums = tile_token_sums_.data() + tile * layout_.d_padded;
  sums.squared_tokens =
      load_tile(kernels_, layout_, x, parameters_.scale, parameters_.b_pre.data(), token_sums, work).squares;
  const bool finite = surely_finite(sums.squared_tokens);
  sums.flags = encode_topk(kernels_, panels(), layout_, rows, finite, work, work.selection, spec_.k);
  const double selected = seconds();
  float* r_sums = tile_residual_sums_.data() + tile * layout_.d_padded;
  std::fill_n(r_sums, layout_.d_padded, 0.0F);
  main_gradient(batch, first, rows, partial, work, sums, r_sums);
  double decoded = seconds();
  times.encode_select += selected - start;
  times.decode_gradient += decoded - selected;
  if (dead_count_ > 0) {
    const Panels dead = dead_panels();
    sums.flags.add(encode_topk(kernels_, dead, layout_, rows, finite, work, work.aux_selection, spec_.aux_k));
    times.encode_select += seconds() - decoded;
    decoded = seconds();
    aux_gradient(batch, first, rows, partial, work, sums);
    times.decode_gradient += seconds() - decoded;
  }
  tile_sums_[tile] = sums;
}

void CpuSae::main_gradient(const Batch& batch, int64_t first, int64_t rows, int64_t partial,
                           TileWorkspace& work, TileSums& sums, float* r_sums) {
  const SelectionBuffer& selection = work.selection;
  for (int64_t t = 0; t < rows; ++t) sums.active += selection.count(t);
  if (learns_narrow()) {
    LearnTile tile = narrow_tile(work.selection, rows, partial, work);
    tile.base = work.xc.data();
    tile.base_sign = -1;
    tile.factor = batch.error_factor;
    tile.r_sums = r_sums;
    tile.fired = partial_fired_.data() + partial * spec_.n;
    sums.squared_error += kernels_.learn_tile(tile);
    return;
  }
  const bool prefetch = prefetch_rows();
  for (int64_t t = 0; t < rows; ++t) {
    const float* xc = work.xc.data() + t * layout_.x_stride;
    float* r = work.r.data() + t * layout_.x_stride;
    const bool has_next = prefetch && t + 1 < rows;
    const float squares = kernels_.decode_token(
        {selection.values(t), selection.indices(t), selection.count(t), parameters_.decoder().data(),
         layout_.d_padded, xc, -1.0F, r, r_sums, work.g.data(), work.dot_work.data(),
         has_next ? selection.indices(t + 1) : nullptr, has_next ? selection.count(t + 1) : 0});
    sums.squared_error += static_cast<double>(squares);
    add_token_gradient(selection, t, first + t, batch.error_factor, partial, true, work);
  }
}

void CpuSae::aux_gradient(const Batch& batch, int64_t first, int64_t rows, int64_t partial,
                          TileWorkspace& work, TileSums& sums) {
  SelectionBuffer& selection = work.aux_selection;
  if (learns_narrow()) {
    LearnTile tile = narrow_tile(selection, rows, partial, work);
    tile.base = work.r.data();
    tile.base_sign = 1;
    tile.factor = batch.aux_error_factor;
    sums.aux_error += kernels_.learn_tile(tile);
    return;
  }
  for (int64_t t = 0; t < rows; ++t) {
    const int32_t* indices = selection.indices(t);
    float* r = work.r.data() + t * layout_.x_stride;
    const float squares = kernels_.decode_token({selection.values(t), indices, selection.count(t),
                                                 parameters_.decoder().data(), layout_.d_padded, r, 1.0F, r,
                                                 nullptr, work.g.data(), work.dot_work.data(), nullptr, 0});
    sums.aux_error += static_cast<double>(squares);
    add_token_gradient(selection, t, spec_.max_batch + first + t, batch.aux_error_factor, partial, false,
                       work);
  }
}

bool CpuSae::learns_narrow() const {
  return kernels_.learn_tile != nullptr && layout_.scheme == GradientScheme::kScatter && spec_.tied &&
         layout_.d_padded <= kNarrowColumns;
}

// What the gradients of the selection and of AuxK have in common.
LearnTile CpuSae::narrow_tile(SelectionBuffer& selection, int64_t rows, int64_t partial,
                              TileWorkspace& work) {
  LearnTile tile{};
  tile.rows = rows;
  tile.selection = selection.view();
  tile.weights = parameters_.decoder().data();
  tile.d_padded = layout_.d_padded;
  tile.xc = work.xc.data();
  tile.r = work.r.data();
  tile.x_stride = layout_.x_stride;
  tile.gradient = partial_.data() + partial * spec_.n * layout_.d_padded;
  tile.b_enc = partial_b_enc_.data() + partial * spec_.n;
  tile.g = work.g.data();
  return tile;
}

// work.g holds W_i . r of the token, work.r and work.xc its rows.
void CpuSae::add_token_gradient(const SelectionBuffer& selection, int64_t row, int64_t pair_row, float factor,
                                int64_t partial, bool count_as_fired, TileWorkspace& work) {
  const int64_t count = selection.count(row);
  const int32_t* indices = selection.indices(row);
  const float* z = selection.values(row);
  const float* xc = work.xc.data() + row * layout_.x_stride;
  const float* r = work.r.data() + row * layout_.x_stride;
  if (layout_.scheme == GradientScheme::kRanges) {
    pairs_.put(pair_row, indices, count, z, work.g.data(), factor);
    store_slices(pair_row, r, xc);
    return;
  }
  float* b_enc = partial_b_enc_.data() + partial * spec_.n;
  uint8_t* fired = partial_fired_.data() + partial * spec_.n;
  for (int64_t i = 0; count_as_fired && i < count; ++i) fired[indices[i]] = 1;
  for (int64_t i = 0; i < count; ++i) {
    work.zc[i] = factor * z[i];
    work.g[i] *= factor;
    b_enc[indices[i]] += work.g[i];
  }
  const int64_t begin = partial * spec_.n * layout_.d_padded;
  kernels_.scatter_token({work.zc.data(), work.g.data(), indices, count, r, xc, layout_.d_padded,
                          partial_.data() + begin, spec_.tied ? nullptr : partial_dec_.data() + begin});
}

void CpuSae::store_slices(int64_t pair_row, const float* r, const float* xc) {
  const int64_t rows = slice_rows(), slice = layout_.slice;
  for (int64_t s = 0; s < layout_.slices; ++s) {
    float* target = slices_.data() + (s * rows + pair_row) * 2 * slice;
    std::copy_n(r + layout_.slice_begin(s), layout_.slice_width(s), target);
    std::copy_n(xc + layout_.slice_begin(s), layout_.slice_width(s), target + slice);
  }
}

}  // namespace branchsae::cpu
