#pragma once
/// What reconstructions are worth: in figures, and to the network, which runs on with a tap replaced by its
/// autoencoder's reconstruction, by its mean, by zero.
#include <string>
#include <vector>

#include "analysis/splicing/predictions.h"
#include "analysis/splicing/reconstruction_figures.h"
#include "engine/device.h"
#include "engine/images.h"
#include "model/evaluate.h"
#include "model/sae_file.h"

namespace branchsae {

struct SplicingOptions {
  EvaluateOptions evaluate = {};
  bool splice = true;    ///< false: only the figures, of a pass that ends at the taps
  bool labelled = true;  ///< false: ImageInfo::label are no classes of this network
  /// Memory for tokens that are needed again once their mean is known. What takes more is not kept, and the
  /// network runs once more: the same results.
  int64_t kept_bytes = int64_t{1} << 30;
};

enum class Replacement { kReconstruction, kMean, kZero };
/// "reconstruction", "mean", "zero".
const char* replacement_name(Replacement replacement);

struct SplicedPredictions {
  Replacement replacement = Replacement::kZero;
  int64_t k = 0;  ///< of a reconstruction
  PredictionComparison predictions;
};

struct Reconstruction {
  int64_t k = 0;
  SaeMetrics metrics;  ///< what evaluate() says of the same images
  ReconstructionFigures figures;
};

/// One autoencoder.
struct SplicingEvaluation {
  std::string tap;
  std::vector<Reconstruction> reconstructions;  ///< by k
  /// Why the tap cannot be replaced (a joined one, a network without classes); then nothing below is set.
  std::string refused;
  PredictionComparison clean;               ///< the network untouched
  std::vector<SplicedPredictions> spliced;  ///< mean, zero, then a reconstruction for each k

  const SplicedPredictions& find(Replacement replacement, int64_t k = 0) const;
  /// Of a reconstruction, against the tap at `without`; predictions.h has the formulas.
  double recovered(int64_t k, Replacement without) const;
  double divergence_recovered(int64_t k, Replacement without) const;
};

struct SplicingResult {
  std::vector<SplicingEvaluation> evaluations;  ///< in the order of the autoencoders
  std::vector<SkippedImage> skipped;
  int64_t images = 0;
  bool stopped = false;  ///< then nothing else holds
};

/// One pass over the images for all autoencoders and ks, and another one, be it in memory, for what needs the
/// mean token. Beside the first, for each tap and for each k more, the network runs on from the tap: with
/// zero once a tap, with its reconstruction once a k; and each autoencoder encodes once for each k and once
/// for all. The second runs it on with the mean. Where a tap is a whole layer, mean and zero are the same for
/// every image and run once. Images, ks and precision as in evaluate(); its errors, too. callbacks: of both
/// passes together.
SplicingResult evaluate_splicing(const Device& device, const Graph& graph, const ImageSource& images,
                                 const std::vector<SaeFile>& saes, const SplicingOptions& options,
                                 const EvaluateCallbacks& callbacks = {});

}  // namespace branchsae
