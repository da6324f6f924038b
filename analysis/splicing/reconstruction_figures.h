#pragma once
/// Figures of a reconstruction beside those of model/sae_metrics.h: what other libraries print under names
/// that sound alike and differ. All in double, unscaled units; x is a token, x_hat its reconstruction, e = x
/// - x_hat, m the mean token.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/view.h"

namespace branchsae {

/// Of the tokens added; NaN where nothing defines one. Tokens at which a quotient has no divisor (x = 0, or
/// x = m) take no part in its mean.
struct ReconstructionFigures {
  int64_t tokens = 0;
  double explained_variance_centred = 0;   ///< 1 - sum_c var(e_c) / sum_c var(x_c)
  double explained_variance_by_token = 0;  ///< mean of 1 - |e|^2 / |x - m|^2
  /// 1 - sum |e|^2 / sum (x_c - mean of all x_c)^2: differences between channels count as variance.
  double explained_variance_one_mean = 0;
  double relative_error = 0;       ///< mean of |e| / |x|
  double norm_ratio = 0;           ///< mean of |x_hat| / |x|
  double reconstruction_bias = 0;  ///< sum |x_hat|^2 / sum x . x_hat
  double error_norm = 0;           ///< mean of |e|
  double squared_error_norm = 0;   ///< mean of |e|^2
};

/// Tokens are seen twice, in the same order: with their reconstructions, then once their mean is known.
/// Memory: 8 bytes a token.
class ReconstructionSums {
 public:
  explicit ReconstructionSums(int64_t d);
  /// Both [tokens, d], in host memory. Throws ShapeError for other shapes.
  void add(View<const float, 2> x, View<const float, 2> x_hat);
  /// The next of the same tokens; mean [d]. Throws ShapeError for other shapes, or more tokens than were
  /// added.
  void add_spread(View<const float, 2> x, std::span<const double> mean);
  /// mean: the same. Throws Error when the spread of some tokens is missing.
  ReconstructionFigures figures(std::span<const double> mean) const;

 private:
  /// A sum over tokens and how many there were.
  struct Mean {
    double sum = 0;
    int64_t count = 0;
    void add(double value) { sum += value, ++count; }
    double value() const;
  };

  std::vector<double> error_;          ///< sum of e, [d]
  std::vector<double> squared_error_;  ///< of each token, |e|^2
  size_t spread_ = 0;                  ///< tokens whose distance from the mean is known
  double variance_ = 0, product_ = 0, squared_hat_ = 0;
  Mean by_token_, relative_error_, norm_ratio_, error_norm_, squared_error_norm_;
};

/// What a field is and who reports it.
struct ReconstructionFormula {
  std::string_view field, title, formula;
  std::string_view reported_by;  ///< "SAELens: explained_variance"
};

/// Of every figure of a reconstruction: those above and those of SaeMetrics. In the order to print.
/// Source of the names: SAELens 6.54 (evals.py), dictionary_learning 0.1 (evaluation.py), sparsify 1.3
/// (sparse_coder.py), overcomplete 0.3 (metrics.py), as installed from PyPI in November 2026.
const std::vector<ReconstructionFormula>& reconstruction_formulas();

}  // namespace branchsae
