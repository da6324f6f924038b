#pragma once
/// The second route to the same question: an autoencoder over several layers at once has features that live
/// in two or more of them. Do those keep their branch from layer to layer?
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "analysis/branches/tap_branches.h"
#include "analysis/matching/agreement.h"
#include "engine/view.h"

namespace branchsae {

struct JoinedOptions {
  double least_share = 0.1;  ///< of a feature's weighted energy: it lives in a layer from there on
  int64_t rounds = 10000;
  uint64_t seed = 0;
};

/// Features that live in both of two layers, each paired with itself.
struct JoinedLayers {
  std::string a, b;
  std::vector<LatentPair> pairs = {};                    ///< similarity: the lesser of the two layers' shares
  std::optional<Agreement> agreement = {}, random = {};  ///< unset where a layer has one branch only
  std::optional<Agreement> enriched = {}, random_enriched = {};  ///< the same by_enrichment()
};

struct JoinedResult {
  std::vector<std::string> layers;
  std::vector<double> energy;                    ///< [layers] E|a_l|^2 of the tokens
  std::vector<BranchProfile> profiles;           ///< [layers] of the layer's part of the decoder
  std::vector<std::vector<double>> layer_share;  ///< [layers][n] weighted: sums to 1 over layers
  /// [layers] mean share of a random dictionary: where noise of a feature would show. What lies there beside
  /// it may be no more than that.
  std::vector<double> random_share;
  std::vector<int64_t> living;    ///< [layers] live features that live in it
  std::vector<int64_t> by_count;  ///< [layers + 1] live features that live in so many layers
  int64_t live = 0;
  std::vector<JoinedLayers> between;  ///< every two layers, a before b
};

/// decoder [n, C]; branches: of its channels; channel_energy [C] mean of x_c^2; density [n]. A layer's share
/// is |d_il|^2 / E|a_l|^2 over the sum of these: layers of larger activations would win otherwise. Only
/// latents that fired count. Throws InputError for a tap of one layer, or a layer that is always zero.
JoinedResult match_joined(View<const float, 2> decoder, const std::vector<TapBranch>& branches,
                          std::span<const double> channel_energy, std::vector<double> density,
                          const JoinedOptions& options);

}  // namespace branchsae
