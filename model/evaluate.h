#pragma once
/// How well autoencoders reconstruct the tokens of some images.
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/images.h"
#include "model/run.h"
#include "model/sae_file.h"
#include "model/sae_metrics.h"

namespace branchsae {

struct EvaluateOptions {
  std::vector<int64_t> images = {};  ///< indices into the source, in the order to read
  std::vector<int64_t> ks = {};      ///< latents kept per token; empty: each autoencoder's own k
  int64_t forward_batch = 16;
  /// Of the network and the autoencoders: what the run was trained in. Unset, or not offered by the device:
  /// its usual.
  std::optional<SaePrecision> precision = {};
  ConvAlgorithm conv = ConvAlgorithm::kAuto;
  bool strict = false;  ///< an unreadable image is an error; else more than half of them is
};

struct SaeEvaluation {
  std::string tap;
  int64_t k = 0;
  SaeMetrics metrics;
};

struct EvaluateResult {
  std::vector<SaeEvaluation> evaluations;  ///< by autoencoder, then by k
  std::vector<SkippedImage> skipped;
  int64_t images = 0;    ///< read
  bool stopped = false;  ///< then the figures cover only the images read so far
};

struct EvaluateCallbacks {
  std::function<void(int64_t images_done, int64_t images_total)> progress;
  std::function<bool()> stop_requested;
};

/// Runs the network up to the taps over the images, and every autoencoder on all positions.
/// Throws InputError (a tap that the graph lacks or of another width; too many unreadable images; k
/// outside 1..n).
EvaluateResult evaluate(const Device& device, const Graph& graph, const ImageSource& images,
                        const std::vector<SaeFile>& saes, const EvaluateOptions& options,
                        const EvaluateCallbacks& callbacks = {});

/// One JSON object: tap, k, and the metrics' fields.
std::string to_json(const SaeEvaluation& evaluation);

}  // namespace branchsae
