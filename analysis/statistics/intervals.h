#pragma once
/// 95 % confidence intervals of the effects that the tests report. In double.
#include <cstdint>
#include <span>
#include <vector>

#include "analysis/statistics/counts.h"

namespace branchsae {

struct Interval {
  double low = 0, high = 0;
};

/// value -+ 1.96 deviations. NaN where the deviation is not known.
Interval normal_interval(double value, double deviation);

/// How each unit stands to those of the other group: the parts of an AUROC.
struct Placements {
  std::vector<double> labelled;  ///< [n1] share of the others that score less, ties as half
  std::vector<double> others;    ///< [n0] share of the labelled that score more, ties as half
  double auroc = 0.5;            ///< the mean of either; 0.5 when a group is empty
};
/// scores [n], labels [n] (0 or other). Throws ShapeError, InputError for NaN.
Placements placements(std::span<const double> scores, std::span<const uint8_t> labels);

/// Covariance of two AUROCs of the same units and labels; of one with itself its variance. NaN when a group
/// has fewer than two units. Source: DeLong, DeLong and Clarke-Pearson 1988.
double auroc_covariance(const Placements& a, const Placements& b);

/// Of Spearman's r over n pairs: tanh(atanh r -+ 1.96 sqrt((1 + r^2 / 2) / (n - 3))). NaN for n < 4 or an
/// undefined r. Source: Bonett and Wright 2000.
Interval spearman_interval(double r, int64_t n);

/// Deviation of mutual_information_bits(): sqrt((sum p_ij log2(p_ij / (p_i p_j))^2 - I^2) / N), I without the
/// correction. Source: Roulston 1999. NaN of an empty table. At I = 0 it is 0: too small there, use the
/// permutation's p.
double mutual_information_deviation(const CountTable& table);

}  // namespace branchsae
