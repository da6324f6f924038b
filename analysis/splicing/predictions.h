#pragma once
/// What a network with one activation replaced predicts, beside what it predicts untouched. In double.
#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "engine/graph.h"

namespace branchsae {

/// The value whose rows are the class scores before the softmax, and how many classes there are.
struct ClassScores {
  ValueId value = kNoValue;
  std::string name;    ///< the value's own
  std::string output;  ///< the graph's output that it is, or that is its softmax
  int64_t classes = 0;
};

/// Of the graph's last output of one number a class ([N, C] or [N, C, 1, 1]); auxiliary heads come earlier.
/// Throws InputError when the network classifies nothing.
ClassScores find_class_scores(const Graph& graph);

/// Sums over images.
struct PredictionSums {
  int64_t images = 0;          ///< all
  int64_t labelled = 0;        ///< those whose class is known
  int64_t top1 = 0, top5 = 0;  ///< of the labelled, ties by the lower class
  double cross_entropy = 0;    ///< nats, over the labelled: -ln p(class)
  double added_loss = 0;       ///< nats, over the labelled: what the clean network's -ln p(class) lacks to it
  double added_loss_squared = 0;
  double divergence = 0;  ///< nats, over all: KL(clean || this)
  int64_t same_top1 = 0;  ///< of all: the clean network's first class

  double top1_share() const { return share(static_cast<double>(top1), labelled); }
  double top5_share() const { return share(static_cast<double>(top5), labelled); }
  double mean_cross_entropy() const { return share(cross_entropy, labelled); }
  double mean_added_loss() const { return share(added_loss, labelled); }
  /// Standard error of mean_added_loss(), images paired; NaN below two.
  double added_loss_error() const;
  double mean_divergence() const { return share(divergence, images); }
  double same_top1_share() const { return share(static_cast<double>(same_top1), images); }

 private:
  static double share(double sum, int64_t count);  ///< NaN of none
};

class PredictionComparison {
 public:
  /// clean, changed [classes]: scores before the softmax; label: class index, -1 when unknown. Throws
  /// ShapeError when their lengths differ.
  void add(std::span<const float> clean, std::span<const float> changed, int32_t label);

  const PredictionSums& sums() const { return sums_; }
  const std::map<int32_t, PredictionSums>& by_class() const { return by_class_; }

 private:
  PredictionSums sums_;
  std::map<int32_t, PredictionSums> by_class_;  ///< of the labelled
};

/// Share of the loss that a replacement keeps: (CE_without - CE_spliced) / (CE_without - CE_clean); 1 when it
/// loses nothing, 0 when it is no better than `without` (the activation at zero, or at its mean). NaN when
/// `without` costs nothing. Source: Gao et al. 2024, arXiv:2406.04093, section 4.1.
double loss_recovered(const PredictionSums& clean, const PredictionSums& spliced,
                      const PredictionSums& without);

/// The same of the divergence from the clean output, which needs no labels: (KL_without - KL_spliced) /
/// KL_without. NaN when `without` changes nothing. Source: SAELens, evals.py, kl_div_score.
double divergence_recovered(const PredictionSums& spliced, const PredictionSums& without);

}  // namespace branchsae
