#pragma once
/// One pass of images through the network and an autoencoder.
#include <array>
#include <vector>

#include "analysis/features/image_scores.h"
#include "engine/device.h"
#include "engine/images.h"
#include "model/evaluate.h"
#include "model/sae_file.h"

namespace branchsae {

struct FeatureScan {
  ImageScores scores;                       ///< images by their index in the source
  std::vector<double> channel_energy = {};  ///< [d] mean over tokens of x_c^2, unscaled units
  double input_l0 = 0;                      ///< mean number of channels that are not zero, a token
  std::array<int64_t, 2> grid{};            ///< height, width of the tap
  std::vector<SkippedImage> skipped = {};
  bool stopped = false;  ///< then it covers only the images read so far
};

/// options.images ascending; options.ks at most one. Throws InputError as evaluate() does.
FeatureScan scan_features(const Device& device, const Graph& graph, const ImageSource& images,
                          const SaeFile& sae, const EvaluateOptions& options,
                          const EvaluateCallbacks& callbacks = {});

}  // namespace branchsae
