#include "analysis/matching/joined.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "engine/error.h"

namespace branchsae {
namespace {

/// One layer's channels inside the tap, and its branches counted from there.
struct LayerPart {
  std::string layer;
  int64_t begin = 0, count = 0;
  std::vector<ChannelGroup> groups;
};

/// A layer's branches follow each other in a tap, as resolve_tap() joins whole layers and branches.
std::vector<LayerPart> layer_parts(const std::vector<TapBranch>& branches) {
  std::vector<LayerPart> parts;
  for (const TapBranch& branch : branches) {
    if (parts.empty() || parts.back().layer != branch.layer)
      parts.push_back({branch.layer, branch.group.begin, 0, {}});
    LayerPart& part = parts.back();
    part.groups.push_back({branch.branch, branch.group.begin - part.begin, branch.group.count});
    part.count += branch.group.count;
  }
  return parts;
}

void check_parts(const std::vector<LayerPart>& parts) {
  if (parts.size() < 2)
    throw InputError("the tap is of one layer; features that live in several need a joined tap");
  for (size_t i = 0; i < parts.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (parts[i].layer == parts[j].layer)
        throw InputError(fmt::format("the tap has channels of {} in two places", parts[i].layer));
    }
  }
}

double norm2(View<const float, 2> decoder, int64_t latent, const LayerPart& part) {
  double sum = 0;
  for (int64_t c = part.begin; c < part.begin + part.count; ++c) {
    const auto value = static_cast<double>(decoder(latent, c));
    sum += value * value;
  }
  return sum;
}

/// [layers][n]; 0 for a decoder row of zeros.
std::vector<std::vector<double>> weighted_shares(View<const float, 2> decoder,
                                                 const std::vector<LayerPart>& parts,
                                                 const std::vector<double>& energy) {
  std::vector<std::vector<double>> shares(parts.size(),
                                          std::vector<double>(static_cast<size_t>(decoder.shape[0])));
  for (int64_t i = 0; i < decoder.shape[0]; ++i) {
    const auto latent = static_cast<size_t>(i);
    double total = 0;
    for (size_t l = 0; l < parts.size(); ++l)
      total += shares[l][latent] = norm2(decoder, i, parts[l]) / energy[l];
    for (size_t l = 0; l < parts.size() && total > 0; ++l) shares[l][latent] /= total;
  }
  return shares;
}

std::vector<double> layer_energy(const std::vector<LayerPart>& parts, std::span<const double> channels) {
  std::vector<double> energy;
  for (const LayerPart& part : parts) {
    const auto begin = channels.begin() + static_cast<std::ptrdiff_t>(part.begin);
    energy.push_back(std::accumulate(begin, begin + static_cast<std::ptrdiff_t>(part.count), 0.0));
    if (!(energy.back() > 0))
      throw InputError(
          fmt::format("{} is zero on all of these images: its share cannot be weighed", part.layer));
  }
  return energy;
}

/// Of rows with independent entries of one variance: |d_il|^2 is as the number of channels.
std::vector<double> random_shares(const std::vector<LayerPart>& parts, const std::vector<double>& energy) {
  std::vector<double> shares;
  double total = 0;
  for (size_t l = 0; l < parts.size(); ++l) {
    shares.push_back(static_cast<double>(parts[l].count) / energy[l]);
    total += shares.back();
  }
  for (double& share : shares) share /= total;
  return shares;
}

class Joined {
 public:
  Joined(const JoinedOptions& options, JoinedResult& result) : options_(options), result_(result) {}

  bool lives(size_t layer, size_t latent) const {
    return result_.profiles[layer].density[latent] > 0 &&
           result_.layer_share[layer][latent] >= options_.least_share;
  }

  void count() {
    const size_t layers = result_.layers.size(), latents = result_.layer_share.front().size();
    result_.living.assign(layers, 0);
    result_.by_count.assign(layers + 1, 0);
    for (size_t i = 0; i < latents; ++i) {
      if (!(result_.profiles.front().density[i] > 0)) continue;
      size_t number = 0;
      for (size_t l = 0; l < layers; ++l) {
        if (!lives(l, i)) continue;
        ++number;
        ++result_.living[l];
      }
      ++result_.by_count[number];
      ++result_.live;
    }
  }

  JoinedLayers between(size_t a, size_t b, const BranchProfile& random_a,
                       const BranchProfile& random_b) const {
    JoinedLayers layers{.a = result_.layers[a], .b = result_.layers[b]};
    const std::vector<double>&share_a = result_.layer_share[a], &share_b = result_.layer_share[b];
    for (size_t i = 0; i < share_a.size(); ++i) {
      const auto latent = static_cast<int32_t>(i);
      if (lives(a, i) && lives(b, i))
        layers.pairs.push_back({latent, latent, static_cast<float>(std::min(share_a[i], share_b[i]))});
    }
    const BranchProfile &left = result_.profiles[a], &right = result_.profiles[b];
    if (!incomparable(left, right).empty()) return layers;
    const auto agreement = [&](const BranchProfile& one, const BranchProfile& other) {
      return branch_agreement(layers.pairs, one, other, options_.rounds, options_.seed);
    };
    layers.agreement = agreement(left, right);
    layers.random = agreement(random_a, random_b);
    layers.enriched = agreement(by_enrichment(left), by_enrichment(right));
    layers.random_enriched = agreement(by_enrichment(random_a), by_enrichment(random_b));
    return layers;
  }

 private:
  const JoinedOptions& options_;
  JoinedResult& result_;
};

void correct_all(JoinedResult& result) {
  std::vector<Agreement*> agreements;
  for (JoinedLayers& layers : result.between) {
    for (std::optional<Agreement>* one : {&layers.agreement, &layers.enriched}) {
      if (*one) agreements.push_back(&**one);
    }
  }
  correct(agreements);
}

}  // namespace

JoinedResult match_joined(View<const float, 2> decoder, const std::vector<TapBranch>& branches,
                          std::span<const double> channel_energy, std::vector<double> density,
                          const JoinedOptions& options) {
  check_groups(channel_groups(branches), decoder.shape[1]);
  const std::vector<LayerPart> parts = layer_parts(branches);
  check_parts(parts);
  if (std::ssize(channel_energy) != decoder.shape[1])
    throw ShapeError(fmt::format("energies of {} channels for {}", channel_energy.size(), decoder.shape[1]));
  JoinedResult result;
  std::vector<BranchProfile> random;
  for (const LayerPart& part : parts) {
    result.layers.push_back(part.layer);
    result.profiles.push_back(branch_profile(decoder.columns(part.begin, part.count), part.groups, density));
    random.push_back(random_profile(decoder.shape[0], part.groups, density, options.seed + random.size()));
  }
  result.energy = layer_energy(parts, channel_energy);
  result.random_share = random_shares(parts, result.energy);
  result.layer_share = weighted_shares(decoder, parts, result.energy);
  Joined joined(options, result);
  joined.count();
  for (size_t a = 0; a < parts.size(); ++a) {
    for (size_t b = a + 1; b < parts.size(); ++b)
      result.between.push_back(joined.between(a, b, random[a], random[b]));
  }
  correct_all(result);
  return result;
}

}  // namespace branchsae
