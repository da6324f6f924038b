#pragma once
/// How much of a whole-layer latent's decoder lies in each branch, and what to compare that with.
/// Notation: d_i is latent i's decoder row, d_ib its part in branch b of n_b channels; C channels in all.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/view.h"

namespace branchsae {

/// Columns of a tap that one branch of one layer computes.
struct ChannelGroup {
  std::string name;  ///< "5x5", or "mixed4c.5x5" in a joined tap
  int64_t begin = 0, count = 0;
};

/// One latent and one branch.
struct BranchShare {
  double positive = 0;    ///< |max(d_ib, 0)| / |max(d_i, 0)|, the paper's: its squares sum to 1
  double energy = 0;      ///< |d_ib|^2 / |d_i|^2: sums to 1
  double absolute = 0;    ///< sum |d_ib| / sum |d_i|: sums to 1
  double enrichment = 0;  ///< log2(energy / (n_b / C)); -infinity for none
};

/// One latent. A decoder row of zeros has NaN shares and dominant = -1.
struct LatentShares {
  std::vector<BranchShare> branches;
  double specialisation = 0;   ///< sum_b s_ib log2(s_ib C / n_b) bits; 0: spread as the channels are
  double entropy = 0;          ///< H(s_i) / log B; 0: one branch, 1: all alike. 0 where there is one branch
  int32_t dominant = -1;       ///< branch of most energy
  int32_t most_enriched = -1;  ///< branch of most enrichment
  double neuron_cosine = 0;    ///< largest |cosine| with a single channel
  int32_t neuron = -1;         ///< that channel
};

/// groups: side by side, covering the row. Throws InputError otherwise.
void check_groups(std::span<const ChannelGroup> groups, int64_t channels);

/// decoder [n, C], host. Source of the positive share: Bozoukov 2025, arXiv:2504.11489.
std::vector<LatentShares> latent_shares(View<const float, 2> decoder, std::span<const ChannelGroup> groups);

/// What each branch's share would be by chance.
struct ShareNulls {
  double channels = 0;           ///< n_b / C
  double activation_energy = 0;  ///< E|a_b|^2 / E|a|^2; NaN when not given
  /// Of the rows of a random dictionary (independent normal entries): mean and 99th percentile of `positive`
  /// and `energy`.
  double random_positive = 0, random_positive_99 = 0, random_energy = 0, random_energy_99 = 0;
};

/// channel_energy [C]: E a_c^2, or empty. rows: of the random dictionary.
std::vector<ShareNulls> share_nulls(std::span<const ChannelGroup> groups, int64_t channels,
                                    std::span<const double> channel_energy, int64_t rows, uint64_t seed);

/// Share of latents that are one neuron: neuron_cosine above `limit`.
double neuron_share(const std::vector<LatentShares>& latents, double limit = 0.9);

}  // namespace branchsae
