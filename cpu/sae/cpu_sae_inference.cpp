// Encode, decode and evaluation: the forward pass without gradients.
#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "cpu/sae/cpu_sae.h"
#include "engine/error.h"

namespace branchsae::cpu {
namespace {

// Token ranges with their own sums; fixed, so that bits do not depend on the threads.
constexpr int64_t kRanges = 16;

constexpr int64_t kAnyBatch = INT64_MAX;

// Sums of one token in unscaled units; x_hat - x = r / scale.
void add_token(View<const float, 2> x, int64_t row, const float* r, double inverse_scale, SaeEvalSums& sums) {
  double squared_error = 0, squared_norm = 0, squared_hat = 0, product = 0;
  for (int64_t j = 0; j < x.shape[1]; ++j) {
    const auto value = static_cast<double>(x(row, j));
    const double error = static_cast<double>(r[j]) * inverse_scale, hat = value + error;
    const auto c = static_cast<size_t>(j);
    sums.channel_sum[c] += value;
    sums.channel_squared_sum[c] += value * value;
    sums.channel_squared_error[c] += error * error;
    squared_error += error * error;
    squared_norm += value * value;
    squared_hat += hat * hat;
    product += value * hat;
  }
  sums.squared_error += squared_error;
  sums.squared_norm += squared_norm;
  const double norms = std::sqrt(squared_norm) * std::sqrt(squared_hat);
  if (norms > 0) sums.cosine += product / norms;
}

template <class T>
void add_all(const std::vector<T>& from, std::vector<T>& to) {
  if (to.size() < from.size()) to.resize(from.size());
  for (size_t i = 0; i < from.size(); ++i) to[i] += from[i];
}

void add_sums(const SaeEvalSums& from, SaeEvalSums& to) {
  to.tokens += from.tokens;
  to.squared_error += from.squared_error;
  to.squared_norm += from.squared_norm;
  to.cosine += from.cosine;
  to.active += from.active;
  add_all(from.channel_sum, to.channel_sum);
  add_all(from.channel_squared_sum, to.channel_squared_sum);
  add_all(from.channel_squared_error, to.channel_squared_error);
  add_all(from.fired, to.fired);
}

}  // namespace

NumericFlags CpuSae::encode_tile(View<const float, 2> x, int64_t k, TileWorkspace& work) const {
  const LoadedTile loaded = load_tile(kernels_, layout_, x, parameters_.scale, parameters_.b_pre.data(),
                                      work.column_sums.data(), work);
  return encode_topk(kernels_, panels(), layout_, x.shape[0], surely_finite(loaded.squares), work,
                     work.selection, k);
}

int64_t CpuSae::prepare(int64_t k) {
  refresh_shifted_bias();
  refresh_fixed();
  const int64_t most = std::min(k, spec_.n);
  note_slow_k(most);
  for (TileWorkspace& work : work_) work.reserve(layout_, most);
  return most;
}

void CpuSae::encode(Stream&, View<const float, 2> tokens, View<float, 2> values, View<int32_t, 2> indices) {
  check_tokens(spec_, tokens, kAnyBatch);
  check_selection(values.shape, indices.shape, tokens.shape[0]);
  const int64_t slots = values.shape[1], k = prepare(slots);
  const int64_t tiles = layout_.tiles(tokens.shape[0]);
#pragma omp parallel for num_threads(threads_) schedule(dynamic, 1)
  for (int64_t tile = 0; tile < tiles; ++tile) {
    TileWorkspace& work = work_[static_cast<size_t>(omp_get_thread_num())];
    const int64_t first = tile * layout_.tile, rows = std::min(layout_.tile, tokens.shape[0] - first);
    encode_tile(tokens.rows(first, rows), k, work);
    for (int64_t t = 0; t < rows; ++t) {
      const int64_t count = work.selection.count(t);
      for (int64_t i = 0; i < slots; ++i) {
        values(first + t, i) = i < count ? work.selection.values(t)[i] : 0.0F;
        indices(first + t, i) = i < count ? work.selection.indices(t)[i] : -1;
      }
    }
  }
}

void CpuSae::decode(Stream&, View<const float, 2> values, View<const int32_t, 2> indices,
                    View<float, 2> x_hat) {
  check_selection(values.shape, indices.shape, x_hat.shape[0]);
  check_decoded(spec_, x_hat.shape, values.shape[0]);
  const float inverse_scale = 1.0F / parameters_.scale;
  bool in_range = true;
#pragma omp parallel for num_threads(threads_) schedule(static) reduction(&& : in_range)
  for (int64_t t = 0; t < values.shape[0]; ++t) {
    float* sum = work_[static_cast<size_t>(omp_get_thread_num())].column_sums.data();
    std::copy_n(parameters_.b_pre.data(), layout_.d_padded, sum);
    for (int64_t i = 0; i < values.shape[1]; ++i) {
      const int64_t latent = indices(t, i);
      if (latent == -1) continue;
      if (latent < 0 || latent >= spec_.n) {
        in_range = false;
        continue;
      }
      kernels_.add_scaled(values(t, i), parameters_.decoder().data() + latent * layout_.d_padded, sum,
                          layout_.d_padded);
    }
    for (int64_t j = 0; j < layout_.d; ++j) x_hat(t, j) = sum[j] * inverse_scale;
  }
  if (!in_range) throw InputError(fmt::format("a latent index is outside 0..{} (-1: unused)", spec_.n - 1));
}

void CpuSae::evaluate_sync(View<const float, 2> tokens, int64_t k, SaeEvalSums& sums) {
  check_tokens(spec_, tokens, kAnyBatch);
  if (k < 0) throw InputError(fmt::format("k must be 0 (the autoencoder's own) or more, not {}", k));
  const int64_t kept = prepare(k == 0 ? spec_.k : k), tiles = layout_.tiles(tokens.shape[0]);
  const auto d = static_cast<size_t>(spec_.d), n = static_cast<size_t>(spec_.n);
  prepare_sums(spec_, sums);
  SaeEvalSums empty;
  empty.channel_sum.resize(d);
  empty.channel_squared_sum.resize(d);
  empty.channel_squared_error.resize(d);
  empty.fired.resize(n);
  std::vector<SaeEvalSums> ranges(kRanges, empty);
#pragma omp parallel for num_threads(threads_) schedule(dynamic, 1)
  for (int64_t range = 0; range < kRanges; ++range) {
    TileWorkspace& work = work_[static_cast<size_t>(omp_get_thread_num())];
    for (int64_t tile = tiles * range / kRanges; tile < tiles * (range + 1) / kRanges; ++tile) {
      const int64_t first = tile * layout_.tile, rows = std::min(layout_.tile, tokens.shape[0] - first);
      evaluate_tile(tokens.rows(first, rows), kept, work, ranges[static_cast<size_t>(range)]);
    }
  }
  for (const SaeEvalSums& range : ranges) add_sums(range, sums);
}

void CpuSae::evaluate_tile(View<const float, 2> x, int64_t k, TileWorkspace& work, SaeEvalSums& sums) const {
  encode_tile(x, k, work);
  const double inverse_scale = 1.0 / static_cast<double>(parameters_.scale);
  for (int64_t t = 0; t < x.shape[0]; ++t) {
    const SelectionBuffer& selection = work.selection;
    float* r = work.r.data() + t * layout_.x_stride;
    kernels_.decode_token({selection.values(t), selection.indices(t), selection.count(t),
                           parameters_.decoder().data(), layout_.d_padded,
                           work.xc.data() + t * layout_.x_stride, -1.0F, r, nullptr, nullptr,
                           work.dot_work.data(), nullptr, 0});
    add_token(x, t, r, inverse_scale, sums);
    for (int64_t i = 0; i < selection.count(t); ++i)
      ++sums.fired[static_cast<size_t>(selection.indices(t)[i])];
    sums.active += static_cast<double>(selection.count(t));
  }
  sums.tokens += x.shape[0];
}

}  // namespace branchsae::cpu
