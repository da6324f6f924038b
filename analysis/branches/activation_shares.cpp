#include "analysis/branches/activation_shares.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "engine/error.h"
#include "engine/parallel.h"

namespace branchsae {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr int64_t kRowsAtOnce = 64;
constexpr int64_t kFloatBytes = sizeof(float);

void check_codes(int64_t width, View<const float, 2> tokens, View<const float, 2> values,
                 View<const int32_t, 2> indices) {
  if (tokens.shape[1] != width || values.shape != indices.shape || values.shape[0] != tokens.shape[0]) {
    throw ShapeError(fmt::format("tokens {} x {} of a tap of {} channels, values {} x {}, indices {} x {}",
                                 tokens.shape[0], tokens.shape[1], width, values.shape[0], values.shape[1],
                                 indices.shape[0], indices.shape[1]));
  }
}

/// sum of row . (scale * token - centre) over a group's channels.
double part_of(const float* row, const float* token, const float* centre, float scale,
               const ChannelGroup& group) {
  double sum = 0;
  for (int64_t c = group.begin; c < group.begin + group.count; ++c)
    sum += static_cast<double>(row[c] * (scale * token[c] - centre[c]));
  return sum;
}

/// The value of a latent among ascending indices that end in -1s; 0 when it is not there. `at` moves on.
float value_of(int32_t latent, const int32_t* indices, const float* values, int64_t k, int64_t& at) {
  while (at < k && indices[at] >= 0 && indices[at] < latent) ++at;
  return at < k && indices[at] == latent ? values[at] : 0.0F;
}

}  // namespace

EvidenceSums::EvidenceSums(const SaeFile& sae, std::vector<ChannelGroup> groups, int threads)
    : sae_(sae), groups_(std::move(groups)), threads_(threads) {
  check_groups(groups_, sae.spec.d);
  sums_.resize(static_cast<size_t>(sae.spec.n) * groups_.size());
  fired_.resize(static_cast<size_t>(sae.spec.n));
}

void EvidenceSums::add(View<const float, 2> tokens, View<const float, 2> values,
                       View<const int32_t, 2> indices) {
  check_codes(sae_.spec.d, tokens, values, indices);
  const int64_t rows = tokens.shape[0], k = values.shape[1], branches = std::ssize(groups_), d = sae_.spec.d;
  const SaeParameters& p = sae_.parameters;
  parts_.resize(static_cast<size_t>(rows * k * branches));
  const auto add_row = [&](int64_t row, std::vector<float>& token) {
    for (int64_t c = 0; c < d; ++c) token[static_cast<size_t>(c)] = tokens(row, c);
    for (int64_t slot = 0; slot < k; ++slot) {
      const int32_t latent = indices(row, slot);
      if (latent < 0) continue;
      for (int64_t b = 0; b < branches; ++b) {
        parts_[static_cast<size_t>((row * k + slot) * branches + b)] = part_of(
            p.w.data() + latent * d, token.data(), p.b_pre.data(), p.scale, groups_[static_cast<size_t>(b)]);
      }
    }
  };
  on_threads(threads_, (rows + kRowsAtOnce - 1) / kRowsAtOnce, [&](int64_t block) {
    std::vector<float> token(static_cast<size_t>(d));
    for (int64_t row = block * kRowsAtOnce; row < std::min(rows, (block + 1) * kRowsAtOnce); ++row)
      add_row(row, token);
  });
  // Each latent's sums in the order of the rows, by one thread.
  const int64_t ranges = std::max(threads_, 1), n = sae_.spec.n;
  on_threads(threads_, ranges, [&](int64_t range) {
    add_parts(values, indices, n * range / ranges, n * (range + 1) / ranges);
  });
}

void EvidenceSums::add_parts(View<const float, 2> values, View<const int32_t, 2> indices, int64_t begin,
                             int64_t end) {
  const auto branches = std::ssize(groups_);
  const double* part = parts_.data();
  for (int64_t row = 0; row < values.shape[0]; ++row) {
    for (int64_t slot = 0; slot < values.shape[1]; ++slot, part += branches) {
      const int64_t latent = indices(row, slot);
      if (latent < begin || latent >= end || !(values(row, slot) > 0)) continue;
      ++fired_[static_cast<size_t>(latent)];
      double* sums = sums_.data() + latent * branches;
      for (int64_t b = 0; b < branches; ++b) sums[b] += part[b];
    }
  }
}

LatentBranchValues EvidenceSums::shares() const {
  LatentBranchValues result{std::ssize(groups_), std::vector<double>(sums_.size(), kNaN)};
  for (size_t i = 0; i < fired_.size(); ++i) {
    double whole = 0;
    for (size_t b = 0; b < groups_.size(); ++b) whole += sums_[i * groups_.size() + b];
    if (fired_[i] == 0 || whole == 0) continue;
    for (size_t b = 0; b < groups_.size(); ++b)
      result.values[i * groups_.size() + b] = sums_[i * groups_.size() + b] / whole;
  }
  return result;
}

CausalSums::CausalSums(const Device& device, const SaeFile& sae, int64_t k, std::vector<ChannelGroup> groups,
                       std::vector<float> means, int64_t max_rows, SaePrecision precision)
    : backend_(device.backend()),
      sae_(make_executor(device, sae, max_rows, precision)),
      k_(k),
      groups_(std::move(groups)),
      means_(std::move(means)),
      tokens_(backend_.buffer<float>(max_rows * sae.spec.d, "tokens without a branch")),
      values_(backend_.buffer<float>(max_rows * k, "code values without a branch")),
      indices_(backend_.buffer<int32_t>(max_rows * k, "code indices without a branch")),
      host_tokens_(static_cast<size_t>(max_rows * sae.spec.d)),
      host_values_(static_cast<size_t>(max_rows * k)),
      host_indices_(static_cast<size_t>(max_rows * k)),
      kept_(static_cast<size_t>(sae.spec.n) * groups_.size()),
      whole_(static_cast<size_t>(sae.spec.n)) {
  check_groups(groups_, sae.spec.d);
  if (std::ssize(means_) != sae.spec.d)
    throw ShapeError(fmt::format("means of {} channels of a tap of {}", means_.size(), sae.spec.d));
}

void CausalSums::encode_without(Stream& stream, const ChannelGroup& group, View<const float, 2> tokens) {
  const int64_t rows = tokens.shape[0], d = tokens.shape[1];
  for (int64_t row = 0; row < rows; ++row) {
    float* token = host_tokens_.data() + row * d;
    for (int64_t c = 0; c < d; ++c) token[c] = tokens(row, c);
    std::copy_n(means_.data() + group.begin, group.count, token + group.begin);
  }
  backend_.copy_to_device(stream, tokens_.data(), host_tokens_.data(), rows * d * kFloatBytes);
  const View<const float, 2> changed = tokens_.matrix(rows, d);
  sae_->encode(stream, changed, values_.matrix(rows, k_), indices_.matrix(rows, k_));
  backend_.copy_to_host(stream, host_values_.data(), values_.data(), rows * k_ * kFloatBytes);
  backend_.copy_to_host(stream, host_indices_.data(), indices_.data(),
                        rows * k_ * static_cast<int64_t>(sizeof(int32_t)));
  stream.synchronize();
}

void CausalSums::add_sync(Stream& stream, View<const float, 2> tokens, View<const float, 2> values,
                          View<const int32_t, 2> indices) {
  check_codes(sae_->spec().d, tokens, values, indices);
  const int64_t most = sae_->spec().max_batch, all = tokens.shape[0];
  for (int64_t first = 0; first < all; first += most) {
    const int64_t rows = std::min(most, all - first);
    for (size_t b = 0; b < groups_.size(); ++b) {
      encode_without(stream, groups_[b], tokens.rows(first, rows));
      for (int64_t row = 0; row < rows; ++row) {
        int64_t at = 0;
        for (int64_t slot = 0; slot < values.shape[1]; ++slot) {
          const int32_t latent = indices(first + row, slot);
          if (latent < 0) break;
          const auto place = static_cast<size_t>(latent);
          if (b == 0) whole_[place] += static_cast<double>(values(first + row, slot));
          kept_[place * groups_.size() + b] += static_cast<double>(
              value_of(latent, host_indices_.data() + row * k_, host_values_.data() + row * k_, k_, at));
        }
      }
    }
  }
}

LatentBranchValues CausalSums::shares() const {
  LatentBranchValues result{std::ssize(groups_), std::vector<double>(kept_.size(), kNaN)};
  for (size_t i = 0; i < whole_.size(); ++i) {
    if (!(whole_[i] > 0)) continue;
    for (size_t b = 0; b < groups_.size(); ++b)
      result.values[i * groups_.size() + b] = 1 - kept_[i * groups_.size() + b] / whole_[i];
  }
  return result;
}

}  // namespace branchsae
