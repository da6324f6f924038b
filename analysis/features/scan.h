#pragma once
/// One pass of images through the network and autoencoders, counted.
#include <array>
#include <optional>
#include <vector>

#include "analysis/features/image_scores.h"
#include "analysis/matching/code_store.h"
#include "engine/device.h"
#include "engine/images.h"
#include "model/evaluate.h"
#include "model/sae_file.h"

namespace branchsae {

/// What one autoencoder did, with one k.
struct FeatureScan {
  size_t sae = 0;  ///< place among those given
  int64_t k = 0;
  ImageScores scores;                       ///< images by their index in the source
  std::vector<double> channel_energy = {};  ///< [d] mean over tokens of x_c^2, unscaled units
  double input_l0 = 0;                      ///< mean number of channels that are not zero, a token
  std::array<int64_t, 2> grid{};            ///< height, width of the tap
  std::optional<CodeStore> codes = {};  ///< of FeatureScans::read; unset where there was no memory for them
};

struct FeatureScans {
  std::vector<FeatureScan> scans;  ///< by autoencoder, then by k
  int64_t images = 0;              ///< read
  std::vector<int64_t> read;       ///< which ones
  std::vector<SkippedImage> skipped;
  bool stopped = false;  ///< then it covers only the images read so far
};

/// options.images ascending. Memory grows with images x latents that fired on them: 16 bytes each.
/// code_bytes: memory for the codes themselves, which are kept when all of them are sure to fit. Throws
/// InputError as CodePass does.
FeatureScans scan_features(const Device& device, const Graph& graph, const ImageSource& images,
                           const std::vector<SaeFile>& saes, const EvaluateOptions& options,
                           const EvaluateCallbacks& callbacks = {}, int64_t code_bytes = 0);

/// Each latent's kResponseTop best images, ascending: [latents].
std::vector<std::vector<int32_t>> best_images(const ImageScores& scores, int threads = 1);

/// Another version of the same images (analysis/features/image_variants.h): scores of nothing but each
/// latent's kResponseTop best images in `originals`, which is what colour_index() and orientation_index()
/// need. By autoencoder and k, as `originals`; `stopped` says whether it broke off.
struct VariantScan {
  std::vector<ImageScores> scores;
  bool stopped = false;
};
VariantScan scan_variant(const Device& device, const Graph& graph, const ImageSource& variant,
                         const std::vector<SaeFile>& saes, const FeatureScans& originals,
                         const EvaluateOptions& options, const EvaluateCallbacks& callbacks = {});

}  // namespace branchsae
