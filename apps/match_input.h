#pragma once
/// What `match` compares: one or two runs, and which of their taps with which.
#include <string>
#include <vector>

#include "analysis/branches/tap_branches.h"
#include "apps/scan_input.h"

namespace branchsae::apps {

struct MatchArguments {
  ScanArguments scan;  ///< run.run is RUN_A
  std::string run_b;   ///< empty: RUN_A alone
  std::vector<std::string> taps_a, taps_b, tap_pairs;
};

/// One autoencoder that takes part.
struct MatchMember {
  std::filesystem::path run;  ///< its run's folder
  bool of_b = false;
  RunTap tap;
  std::vector<TapBranch> branches;
};

struct MatchInput {
  OpenedRun run;  ///< RUN_A, with the model and the images
  ImageLabels labels;
  EvaluateOptions options;
  std::vector<MatchMember> members;  ///< each autoencoder once
  std::vector<SaeFile> saes;         ///< of the members
  struct Pair {
    size_t a = 0, b = 0;
  };
  std::vector<Pair> pairs;     ///< into members
  std::vector<size_t> joined;  ///< members whose tap joins several layers, to be looked at alone
  bool same_run = false;

  /// A member's decoder rows [n, d].
  View<const float, 2> decoder(size_t member) const {
    const SaeFile& sae = saes[member];
    return (sae.spec.tied ? sae.parameters.w : sae.parameters.w_dec).matrix();
  }
};

/// Which taps go together: --tap-pairs; else every --tap-a with the --tap-b of the same place; else, of two
/// runs, the taps that both have; else, of one run, neighbouring whole layers, and its joined taps alone.
/// Throws InputError: no such run or tap, runs of different models, preprocessing or images, nothing to match.
MatchInput open_match(const MatchArguments& arguments);

}  // namespace branchsae::apps
