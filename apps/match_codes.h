#pragma once
/// The codes that `match` compares: one forward pass for all autoencoders.
#include <vector>

#include "analysis/features/code_pass.h"
#include "analysis/matching/code_store.h"
#include "apps/application.h"
#include "apps/match_input.h"

namespace branchsae::apps {

struct MatchCodes {
  struct Member {
    std::vector<int64_t> ks;
    std::vector<CodeStore> codes;        ///< by k
    std::vector<double> channel_energy;  ///< [d] mean over tokens of x_c^2
  };
  std::vector<Member> members;
  std::vector<int32_t>
      class_of;  ///< [images read] synset of the image's class, -1 for none; empty: no labels
  std::vector<SkippedImage> skipped;
  int64_t positions = 0, of_positions = 0;  ///< kept of an image; 0 where grids differ
};

/// Reads all images. positions: of each image, the same in all of them, drawn by the seed; 0: all, or as many
/// as keep the codes within --max-memory (1 GiB without it), which it says. Throws InputError when a number
/// that was asked for does not fit --max-memory; Interrupted on a signal.
MatchCodes read_codes(const Context& context, const Device& device, const MatchInput& input,
                      int64_t positions);

}  // namespace branchsae::apps
