#pragma once
/// What a network still predicts when a tap is replaced by its autoencoder's reconstruction, by its mean, by
/// zero.
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "analysis/splicing/predictions.h"
#include "engine/device.h"
#include "engine/images.h"
#include "model/evaluate.h"
#include "model/sae_file.h"

namespace branchsae {

enum class Replacement { kReconstruction, kMean, kZero };
/// "reconstruction", "mean", "zero".
const char* replacement_name(Replacement replacement);

struct SplicedPredictions {
  Replacement replacement = Replacement::kZero;
  int64_t k = 0;  ///< of a reconstruction
  PredictionComparison predictions;
};

/// One autoencoder.
struct SplicingEvaluation {
  std::string tap;
  std::string refused;         ///< why the tap cannot be replaced (a joined one); then nothing else is set
  PredictionComparison clean;  ///< the network untouched
  std::vector<SplicedPredictions> spliced;  ///< mean, zero, then a reconstruction for each k

  const SplicedPredictions& find(Replacement replacement, int64_t k = 0) const;
  /// Of a reconstruction, against the tap at `without`; predictions.h has the formula.
  double recovered(int64_t k, Replacement without) const;
};

struct SplicingResult {
  std::vector<SplicingEvaluation> evaluations;  ///< in the order of the autoencoders
  std::vector<SkippedImage> skipped;
  int64_t images = 0;
  bool stopped = false;
};

/// Two passes over the images: the taps' means, then everything else. Images, ks and precision as in
/// evaluate(); its errors, too. Labels are ImageInfo::label.
SplicingResult evaluate_splicing(const Device& device, const Graph& graph, const ImageSource& images,
                                 const std::vector<SaeFile>& saes, const EvaluateOptions& options,
                                 const EvaluateCallbacks& callbacks = {});

}  // namespace branchsae
