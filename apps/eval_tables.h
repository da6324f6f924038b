#pragma once
/// What eval prints.
#include <string>
#include <vector>

#include "analysis/splicing/evaluate_splicing.h"
#include "apps/table.h"
#include "loader/class_list.h"
#include "model/run.h"

namespace branchsae::apps {

/// One autoencoder at one k.
struct TapEvaluation {
  RunTap tap;
  SaeEvaluation metrics;
  ReconstructionFigures figures;
  const SplicingEvaluation* splicing = nullptr;  ///< all of the autoencoder's ks

  int64_t k() const { return metrics.k; }
  bool spliced() const { return splicing->refused.empty(); }
  const PredictionComparison& predictions() const {
    return splicing->find(Replacement::kReconstruction, k()).predictions;
  }
};

/// One class's images, with the network untouched and with the tap replaced by its reconstruction.
struct ClassOutcome {
  int32_t label = 0;
  PredictionSums clean, spliced;
  double added_loss() const { return spliced.mean_added_loss(); }
};
/// By class; those with labelled images.
std::vector<ClassOutcome> class_outcomes(const TapEvaluation& evaluation);

/// Every field of reconstruction_formulas(), by tap and k.
Table figures_table(const std::vector<TapEvaluation>& evaluations);
/// A line a figure: its title, formula and who reports it.
std::string formulas_text();
/// Quantiles over latents of the share of tokens on which each is active.
Table density_table(const std::vector<TapEvaluation>& evaluations);
/// The untouched network, then each tap's mean, zero and reconstructions. Cells that need labels are "-"
/// where there are none.
Table splicing_table(const std::vector<TapEvaluation>& evaluations);
/// A line each for taps that were not replaced.
std::string refusals_text(const std::vector<TapEvaluation>& evaluations);
/// The `count` classes that lose most by the replacement and the `count` that lose least. `classes`: null: no
/// names.
Table class_table(const TapEvaluation& evaluation, const ClassList* classes, int64_t count);

/// A figure by its field's name in JSON. Throws Error for a name that is none.
double figure_of(const TapEvaluation& evaluation, std::string_view field);

}  // namespace branchsae::apps
