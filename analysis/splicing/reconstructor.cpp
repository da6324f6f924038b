#include "analysis/splicing/reconstructor.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "engine/error.h"

namespace branchsae {

void keep_largest(std::span<const float> values, std::span<const int32_t> indices, std::span<float> to_values,
                  std::span<int32_t> to_indices) {
  const size_t k = to_values.size();
  std::vector<size_t> slots(values.size());
  std::iota(slots.begin(), slots.end(), size_t{0});
  if (k < slots.size()) {
    // Unused slots hold 0 and come last; the lower slot has the lower index.
    std::ranges::nth_element(slots, slots.begin() + static_cast<int64_t>(k), [&](size_t a, size_t b) {
      return values[a] > values[b] || (values[a] == values[b] && a < b);
    });
    slots.resize(k);
    std::ranges::sort(slots);
  }
  std::ranges::fill(to_values, 0.0F);
  std::ranges::fill(to_indices, -1);
  for (size_t i = 0; i < slots.size(); ++i) {
    to_values[i] = values[slots[i]];
    to_indices[i] = indices[slots[i]];
  }
}

Reconstructor::Reconstructor(Backend& backend, int64_t rows, int64_t k, int64_t d)
    : backend_(backend),
      values_(backend.buffer<float>(rows * k, "code values")),
      kept_values_(backend.buffer<float>(rows * k, "kept code values")),
      x_hat_(backend.buffer<float>(rows * d, "reconstruction")),
      indices_(backend.buffer<int32_t>(rows * k, "code indices")),
      kept_indices_(backend.buffer<int32_t>(rows * k, "kept code indices")) {
  const auto most = static_cast<size_t>(rows * k);
  host_values_.resize(most);
  host_kept_values_.resize(most);
  host_indices_.resize(most);
  host_kept_indices_.resize(most);
}

void Reconstructor::encode(Stream& stream, SaeExecutor& sae, View<const float, 2> tokens, int64_t k) {
  rows_ = tokens.shape[0];
  k_ = k;
  const int64_t most = sae.spec().max_batch;
  const View<float, 2> values = values_.matrix(rows_, k);
  const View<int32_t, 2> indices = indices_.matrix(rows_, k);
  for (int64_t begin = 0; begin < rows_; begin += most) {
    const int64_t part = std::min(most, rows_ - begin);
    sae.encode(stream, tokens.rows(begin, part), values.rows(begin, part), indices.rows(begin, part));
  }
  const int64_t bytes = rows_ * k * int64_t{sizeof(float)};
  backend_.copy_to_host(stream, host_values_.data(), values_.data(), bytes);
  backend_.copy_to_host(stream, host_indices_.data(), indices_.data(), bytes);
  stream.synchronize();
}

void Reconstructor::keep_sync(Stream& stream, int64_t k) {
  const auto from = static_cast<size_t>(k_), to = static_cast<size_t>(k);
  for (size_t t = 0; t < static_cast<size_t>(rows_); ++t) {
    keep_largest({host_values_.data() + t * from, from}, {host_indices_.data() + t * from, from},
                 {host_kept_values_.data() + t * to, to}, {host_kept_indices_.data() + t * to, to});
  }
  const int64_t bytes = rows_ * k * int64_t{sizeof(float)};
  backend_.copy_to_device(stream, kept_values_.data(), host_kept_values_.data(), bytes);
  backend_.copy_to_device(stream, kept_indices_.data(), host_kept_indices_.data(), bytes);
  stream.synchronize();
}

View<const float, 2> Reconstructor::decode(Stream& stream, SaeExecutor& sae, int64_t k) {
  if (k < 1 || k > k_) throw ShapeError(fmt::format("{} latents a token to decode, {} were encoded", k, k_));
  const bool all = k == k_;
  if (!all) keep_sync(stream, k);
  const View<float, 2> values = (all ? values_ : kept_values_).matrix(rows_, k);
  const View<int32_t, 2> indices = (all ? indices_ : kept_indices_).matrix(rows_, k);
  const View<float, 2> x_hat = x_hat_.matrix(rows_, sae.spec().d);
  const int64_t most = sae.spec().max_batch;
  for (int64_t begin = 0; begin < rows_; begin += most) {
    const int64_t part = std::min(most, rows_ - begin);
    sae.decode(stream, values.rows(begin, part), indices.rows(begin, part), x_hat.rows(begin, part));
  }
  return x_hat;
}

}  // namespace branchsae
