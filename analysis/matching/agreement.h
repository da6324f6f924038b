#pragma once
/// Whether paired latents lie in the same branch of their layers more often than chance.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "analysis/branches/shares.h"
#include "analysis/matching/assignment.h"
#include "analysis/statistics/counts.h"
#include "analysis/statistics/permutation.h"
#include "analysis/statistics/ranks.h"

namespace branchsae {

/// Where the latents of one autoencoder lie.
struct BranchProfile {
  std::vector<std::string> branches = {};
  std::vector<double> channels;            ///< [branches] share of the tap's channels
  std::vector<int32_t> dominant;           ///< [n] branch of most decoder energy, -1 for none
  std::vector<std::vector<double>> share;  ///< [branches][n] decoder energy
  std::vector<double> density;             ///< [n] of firing: strata of the permutation

  /// Name of a latent's dominant branch; empty for none.
  std::string dominant_name(int32_t latent) const;
};

/// decoder [n, C], groups as in latent_shares(); density [n].
BranchProfile branch_profile(View<const float, 2> decoder, std::span<const ChannelGroup> groups,
                             std::vector<double> density);
/// The same of a random dictionary (independent normal entries): what a profile is when it says nothing.
BranchProfile random_profile(int64_t latents, std::span<const ChannelGroup> groups,
                             std::vector<double> density, uint64_t seed);

/// The same with `dominant` the branch of most enrichment, share over share of channels: by energy wide
/// branches dominate nearly everything, a random dictionary included.
BranchProfile by_enrichment(BranchProfile profile);

/// One branch.
struct BranchAgreement {
  std::string branch;
  FourFold in_branch = {};  ///< a dominated by the branch x b dominated by it
  OddsRatio odds = {};      ///< NaN where a margin is empty: the half added to each cell would be all of it
  FisherExact fisher = {};
  Correlation shares = {};                        ///< Spearman of the two sides' shares
  PermutationTest both = {};                      ///< number of pairs both of which it dominates
  double fisher_q = 1, shares_q = 1, both_q = 1;  ///< set by correct()
};

struct Agreement {
  int64_t pairs = 0;
  std::vector<std::string> branches = {};  ///< of both sides, by name
  CountTable table = {};                   ///< [branches][branches] of dominant branches
  double kappa = 0;
  ChiSquare chi = {};
  PermutationTest same = {};     ///< number of pairs of one dominant branch
  double by_channels = 0;        ///< number expected if each side's branches were drawn by their channels
  double same_q = 1, chi_q = 1;  ///< set by correct()
  std::vector<BranchAgreement> of = {};  ///< [branches]
};

/// Why two taps' branches cannot be compared: empty when they can.
std::string incomparable(const BranchProfile& a, const BranchProfile& b);

/// The null of the permutation tests exchanges branch profiles among b's paired latents of one decile of
/// density. Throws InputError when incomparable() says why.
Agreement branch_agreement(std::span<const LatentPair> pairs, const BranchProfile& a, const BranchProfile& b,
                           int64_t rounds, uint64_t seed);

/// Benjamini and Hochberg over all of these agreements, one family a kind of test: branch x agreement for
/// Fisher, Spearman and the permutation of one branch; agreements for the other two.
void correct(std::span<Agreement* const> agreements);
/// A control is no test of ours: its q are NaN.
Agreement as_control(Agreement agreement);

}  // namespace branchsae
