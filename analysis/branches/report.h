#pragma once
/// Everything that `branches` says of one autoencoder.
#include <span>
#include <string>
#include <vector>

#include "analysis/branches/branch_scan.h"
#include "analysis/branches/compared_branches.h"
#include "analysis/branches/concepts.h"
#include "analysis/branches/decoder_clusters.h"
#include "analysis/branches/shares.h"
#include "analysis/branches/specialisation.h"

namespace branchsae {

/// A group of classes: everything at or below a synset.
struct SynsetConcept {
  std::string name, wordnet_id;
};

struct BranchReportOptions {
  SpecialisationOptions tests = {};
  std::vector<SynsetConcept> synsets = {};
  double colour_limit = 0.5, orientation_limit = 0.5;
  double same_cosine = 0.9;  ///< above it latents count as one, and a latent as a neuron
};

/// Where all latents' decoders lie in one branch.
struct BranchSummary {
  double mean_positive = 0, mean_energy = 0, mean_absolute = 0;  ///< of live latents
  int64_t localised = 0, dominant = 0, most_enriched = 0;        ///< live latents
  int64_t above_random =
      0;                ///< live latents whose energy share is above the random dictionary's 99th percentile
  int64_t neurons = 0;  ///< channels of the branch that are ever active
  double mean_evidence = 0, mean_causal = 0;  ///< of live latents; NaN where not measured
};

struct BranchReport {
  std::vector<TapBranch> branches = {};
  ComparedBranches compared = {};
  std::vector<ShareNulls> nulls = {};       ///< by branch
  std::vector<BranchSummary> summary = {};  ///< by branch
  std::vector<LatentShares> latents = {};
  std::optional<LatentBranchValues> evidence = {}, causal = {};
  std::vector<uint8_t> live = {};
  std::vector<double> density = {};  ///< share of tokens fired on
  int64_t live_latents = 0, images = 0, tokens = 0, labelled = 0;
  double neuron_share = 0;                     ///< of live latents: within same_cosine of one neuron
  int64_t neurons_covered = 0;                 ///< different neurons that these are
  ClusterCounts clusters = {};                 ///< of live latents
  std::vector<UnitConcept> concepts = {};      ///< of the latents
  std::vector<SpecialisationTest> tests = {};  ///< of latents, neurons, random dictionary; q set
  std::vector<std::string> left_out = {};      ///< concepts that could not be decided, and why
};

/// labels: null when the images have none. sae: the one that `scan` is of.
BranchReport branch_report(const SaeFile& sae, const BranchScan& scan, const ImageSynsets* labels,
                           const BranchReportOptions& options);

}  // namespace branchsae
