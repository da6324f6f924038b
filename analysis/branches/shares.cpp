#include "analysis/branches/shares.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/error.h"
#include "engine/random.h"

namespace branchsae {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kHigh = 0.99;

struct Sums {
  double positive = 0, energy = 0, absolute = 0;
  void add(double value) {
    positive += value > 0 ? value * value : 0;
    energy += value * value;
    absolute += std::abs(value);
  }
};

double ratio(double part, double whole) {
  return whole > 0 ? part / whole : kNaN;
}

void find_neuron(std::span<const float> row, double norm, LatentShares& latent) {
  for (size_t c = 0; c < row.size(); ++c) {
    const double cosine = std::abs(static_cast<double>(row[c])) / norm;
    if (cosine <= latent.neuron_cosine) continue;
    latent.neuron_cosine = cosine;
    latent.neuron = static_cast<int32_t>(c);
  }
}

void summarise(std::span<const ChannelGroup> groups, LatentShares& latent) {
  double entropy = 0;
  for (size_t b = 0; b < groups.size(); ++b) {
    const BranchShare& share = latent.branches[b];
    if (share.energy > 0) {
      latent.specialisation += share.energy * share.enrichment;
      entropy -= share.energy * std::log(share.energy);
    }
    const auto number = static_cast<int32_t>(b);
    const auto best = [&](int32_t held) { return latent.branches[static_cast<size_t>(held)]; };
    if (latent.dominant < 0 || share.energy > best(latent.dominant).energy) latent.dominant = number;
    if (latent.most_enriched < 0 || share.enrichment > best(latent.most_enriched).enrichment)
      latent.most_enriched = number;
  }
  latent.entropy = groups.size() > 1 ? entropy / std::log(static_cast<double>(groups.size())) : 0;
}

LatentShares shares_of(std::span<const float> row, std::span<const ChannelGroup> groups) {
  std::vector<Sums> parts(groups.size());
  Sums whole;
  for (size_t b = 0; b < groups.size(); ++b) {
    for (int64_t c = groups[b].begin; c < groups[b].begin + groups[b].count; ++c) {
      const auto value = static_cast<double>(row[static_cast<size_t>(c)]);
      parts[b].add(value);
      whole.add(value);
    }
  }
  LatentShares latent;
  for (size_t b = 0; b < groups.size(); ++b) {
    const double chance = static_cast<double>(groups[b].count) / static_cast<double>(row.size());
    const double energy = ratio(parts[b].energy, whole.energy);
    latent.branches.push_back({std::sqrt(ratio(parts[b].positive, whole.positive)), energy,
                               ratio(parts[b].absolute, whole.absolute), std::log2(energy / chance)});
  }
  if (whole.energy > 0) {
    summarise(groups, latent);
    find_neuron(row, std::sqrt(whole.energy), latent);
  }
  return latent;
}

double percentile(std::vector<double> values) {
  const auto rank = static_cast<size_t>(kHigh * static_cast<double>(values.size() - 1));
  std::ranges::nth_element(values, values.begin() + static_cast<std::ptrdiff_t>(rank));
  return values[rank];
}

}  // namespace

void check_groups(std::span<const ChannelGroup> groups, int64_t channels) {
  int64_t next = 0;
  for (const ChannelGroup& group : groups) {
    if (group.begin != next || group.count < 1) {
      throw InputError(fmt::format("branch {} covers channels {} to {}: channel {} should come next",
                                   group.name, group.begin, group.begin + group.count - 1, next));
    }
    next += group.count;
  }
  if (next != channels) throw InputError(fmt::format("the branches cover {} channels of {}", next, channels));
}

std::vector<LatentShares> latent_shares(View<const float, 2> decoder, std::span<const ChannelGroup> groups) {
  check_groups(groups, decoder.shape[1]);
  std::vector<LatentShares> latents;
  std::vector<float> row(static_cast<size_t>(decoder.shape[1]));
  for (int64_t i = 0; i < decoder.shape[0]; ++i) {
    for (int64_t c = 0; c < decoder.shape[1]; ++c) row[static_cast<size_t>(c)] = decoder(i, c);
    latents.push_back(shares_of(row, groups));
  }
  return latents;
}

std::vector<ShareNulls> share_nulls(std::span<const ChannelGroup> groups, int64_t channels,
                                    std::span<const double> channel_energy, int64_t rows, uint64_t seed) {
  check_groups(groups, channels);
  if (rows < 1) throw InputError(fmt::format("a random dictionary of {} rows: at least 1 is needed", rows));
  std::vector<std::vector<double>> positive(groups.size()), energy(groups.size());
  std::vector<float> row(static_cast<size_t>(channels));
  for (int64_t i = 0; i < rows; ++i) {
    Random random(seed, static_cast<uint64_t>(i));
    for (float& value : row) value = static_cast<float>(random.normal());
    const LatentShares latent = shares_of(row, groups);
    for (size_t b = 0; b < groups.size(); ++b) {
      positive[b].push_back(latent.branches[b].positive);
      energy[b].push_back(latent.branches[b].energy);
    }
  }
  double all_energy = 0;
  for (double value : channel_energy) all_energy += value;
  std::vector<ShareNulls> nulls;
  for (size_t b = 0; b < groups.size(); ++b) {
    ShareNulls null;
    null.channels = static_cast<double>(groups[b].count) / static_cast<double>(channels);
    double branch_energy = 0;
    for (int64_t c = groups[b].begin; !channel_energy.empty() && c < groups[b].begin + groups[b].count; ++c)
      branch_energy += channel_energy[static_cast<size_t>(c)];
    null.activation_energy = ratio(branch_energy, all_energy);
    for (double value : positive[b]) null.random_positive += value / static_cast<double>(rows);
    for (double value : energy[b]) null.random_energy += value / static_cast<double>(rows);
    null.random_positive_99 = percentile(positive[b]);
    null.random_energy_99 = percentile(energy[b]);
    nulls.push_back(null);
  }
  return nulls;
}

double neuron_share(const std::vector<LatentShares>& latents, double limit) {
  const auto count = std::ranges::count_if(
      latents, [&](const LatentShares& latent) { return latent.neuron_cosine > limit; });
  return latents.empty() ? kNaN : static_cast<double>(count) / static_cast<double>(latents.size());
}

}  // namespace branchsae
