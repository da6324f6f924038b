#pragma once
/// The passes over the images that `branches` is made of: what latents, neurons and random directions do on
/// the photos, in grey and in the mirror, and where latents' activation comes from.
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "analysis/branches/activation_shares.h"
#include "analysis/branches/tap_branches.h"
#include "analysis/features/image_scores.h"
#include "engine/images.h"
#include "model/evaluate.h"

namespace branchsae {

/// A copy of an autoencoder that keeps k latents of a token.
SaeFile copy_with_k(const SaeFile& sae, int64_t k);

/// One kind of unit on the same images; grey and mirrored only for each unit's best images (scan_variant).
struct SubjectScores {
  ImageScores original;
  std::optional<ImageScores> grey = {}, mirrored = {};
};

/// One autoencoder.
struct BranchScan {
  std::vector<TapBranch> branches = {};
  SubjectScores latents;
  /// The tap's channels, shared by autoencoders of one tap. This, the next two and the shares below are there
  /// only where the tap has several branches.
  std::shared_ptr<SubjectScores> neurons = {};
  SaeFile dictionary = {};                   ///< random_dictionary()
  std::optional<SubjectScores> random = {};  ///< its latents
  std::vector<double> channel_energy = {};   ///< [d] mean over tokens of x_c^2, unscaled
  std::vector<float> channel_mean = {};      ///< [d]
  std::optional<LatentBranchValues> evidence = {}, causal = {};
};

struct BranchScanOptions {
  EvaluateOptions evaluate = {};  ///< images ascending; ks must be empty: each autoencoder's own counts
  bool colour = true, orientation = true, causal = true;
  int64_t random_rows = 2048;
  uint64_t seed = 0;
  /// Memory for the first pass's tokens and codes, which the causal shares need again. What takes more is not
  /// kept, and the network runs once more: the same results.
  int64_t kept_bytes = int64_t{1} << 30;

  /// Passes over the images, be it in memory.
  int64_t passes() const { return 1 + (causal ? 1 : 0) + (colour ? 1 : 0) + (orientation ? 1 : 0); }
};

/// Memory that the image scores of one autoencoder take at most, its neurons and random dictionary included:
/// a latent has one score an image, and an image at most k a token. Throws as tap_shape() does.
int64_t most_score_bytes(const Graph& graph, const ImageSource& images, const SaeFile& sae,
                         int64_t random_rows);

struct BranchScans {
  std::vector<BranchScan> scans;  ///< by autoencoder
  int64_t images = 0;             ///< read
  std::vector<SkippedImage> skipped;
  bool stopped = false;  ///< then nothing else holds
};

/// saes may be of several taps and several of one tap (with other k). next_pass: called before each pass.
/// Throws InputError as CodePass does, and when grey is asked of images that are not photos.
BranchScans scan_branches(const Device& device, const Graph& graph, const ImageSource& images,
                          const std::vector<SaeFile>& saes, const BranchScanOptions& options,
                          const std::function<EvaluateCallbacks()>& next_pass);

}  // namespace branchsae
