#include "analysis/features/token_encoder.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/error.h"

namespace branchsae {
namespace {

constexpr int64_t kTokensAtOnce = 4096;

std::vector<int64_t> checked(std::vector<int64_t> ks, const SaeFile& sae) {
  if (ks.empty()) throw InputError(fmt::format("no k to encode '{}' with", sae.tap));
  for (size_t i = 0; i < ks.size(); ++i) {
    if (ks[i] < 1 || ks[i] > sae.spec.n) {
      throw InputError(fmt::format("k must be in 1..n = {} for '{}', not {}", sae.spec.n, sae.tap, ks[i]));
    }
    if (std::find(ks.begin(), ks.begin() + static_cast<std::ptrdiff_t>(i), ks[i]) !=
        ks.begin() + static_cast<std::ptrdiff_t>(i)) {
      throw InputError(fmt::format("k = {} is given twice", ks[i]));
    }
  }
  return ks;
}

/// One token's slots in the order of the selection contract: larger values first, ties to the lower index;
/// unused slots last.
std::vector<int64_t> by_value(const float* values, const int32_t* indices, std::vector<int64_t> slots,
                              int64_t wanted) {
  std::ranges::nth_element(slots, slots.begin() + wanted, [&](int64_t a, int64_t b) {
    if ((indices[a] < 0) != (indices[b] < 0)) return indices[b] < 0;
    return values[a] != values[b] ? values[a] > values[b] : indices[a] < indices[b];
  });
  return slots;
}

}  // namespace

void keep_largest(View<const float, 2> values, View<const int32_t, 2> indices, View<float, 2> kept_values,
                  View<int32_t, 2> kept_indices) {
  const int64_t k = values.shape[1], kept = kept_values.shape[1];
  if (indices.shape != values.shape || kept_indices.shape != kept_values.shape || kept >= k ||
      kept_values.shape[0] != values.shape[0]) {
    throw ShapeError(fmt::format("{} of {} codes of {} tokens cannot be kept", kept, k, values.shape[0]));
  }
  std::vector<int64_t> slots(static_cast<size_t>(k));
  for (int64_t t = 0; t < values.shape[0]; ++t) {
    for (size_t i = 0; i < slots.size(); ++i) slots[i] = static_cast<int64_t>(i);
    std::vector<int64_t> order = by_value(values.row(t), indices.row(t), std::move(slots), kept);
    std::sort(order.begin(), order.begin() + kept);  // ascending slots are ascending indices
    int64_t used = 0;
    for (int64_t i = 0; i < kept; ++i) {
      const int64_t slot = order[static_cast<size_t>(i)];
      if (indices(t, slot) < 0) continue;
      kept_values(t, used) = values(t, slot);
      kept_indices(t, used++) = indices(t, slot);
    }
    for (; used < kept; ++used) {
      kept_values(t, used) = 0;
      kept_indices(t, used) = -1;
    }
    slots = std::move(order);
  }
}

TokenEncoder::TokenEncoder(const Device& device, const SaeFile& sae, std::vector<int64_t> ks,
                           int64_t max_rows, SaePrecision precision)
    : backend_(device.backend()),
      ks_(checked(std::move(ks), sae)),
      most_(std::ranges::max(ks_)),
      sae_(make_executor(device, sae, std::min(max_rows, kTokensAtOnce), precision)),
      values_(backend_.buffer<float>(max_rows * most_, "code values")),
      indices_(backend_.buffer<int32_t>(max_rows * most_, "code indices")) {
  for (int64_t k : ks_) {
    codes_.push_back({std::vector<float>(static_cast<size_t>(max_rows * k)),
                      std::vector<int32_t>(static_cast<size_t>(max_rows * k))});
  }
}

void TokenEncoder::encode_sync(Stream& stream, View<const float, 2> tokens) {
  const int64_t rows = tokens.shape[0], at_once = sae_->spec().max_batch;
  const View<float, 2> values = values_.matrix(rows, most_);
  const View<int32_t, 2> indices = indices_.matrix(rows, most_);
  for (int64_t begin = 0; begin < rows; begin += at_once) {
    const int64_t part = std::min(at_once, rows - begin);
    sae_->encode(stream, tokens.rows(begin, part), values.rows(begin, part), indices.rows(begin, part));
  }
  rows_ = rows;
  const auto widest = static_cast<size_t>(std::ranges::find(ks_, most_) - ks_.begin());
  backend_.copy_to_host(stream, codes_[widest].values.data(), values_.data(),
                        rows * most_ * int64_t{sizeof(float)});
  backend_.copy_to_host(stream, codes_[widest].indices.data(), indices_.data(),
                        rows * most_ * int64_t{sizeof(int32_t)});
  stream.synchronize();
  for (size_t i = 0; i < ks_.size(); ++i) {
    if (i == widest) continue;
    keep_largest(this->values(widest), this->indices(widest), {codes_[i].values.data(), {rows, ks_[i]}},
                 {codes_[i].indices.data(), {rows, ks_[i]}});
  }
}

View<const float, 2> TokenEncoder::values(size_t which) const {
  return {codes_[which].values.data(), {rows_, ks_[which]}};
}

View<const int32_t, 2> TokenEncoder::indices(size_t which) const {
  return {codes_[which].indices.data(), {rows_, ks_[which]}};
}

}  // namespace branchsae
