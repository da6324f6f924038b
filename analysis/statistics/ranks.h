#pragma once
/// Comparisons by rank: which of two groups scores higher, do two scores rise together. In double; ties count
/// as half.
#include <cstdint>
#include <span>
#include <vector>

namespace branchsae {

/// Ranks from 1 on; equal values share the mean of theirs. NaN is not allowed: throws InputError.
std::vector<double> mid_ranks(std::span<const double> values);

/// Do the labelled score higher than the others?
struct RankComparison {
  double auroc = 0.5;  ///< P(labelled > other) + P(equal) / 2; 0.5 when a group is empty
  double z = 0;        ///< of the rank sum, without continuity correction; 0 when all scores are equal
  double p = 1;        ///< two-sided, normal approximation
  int64_t labelled = 0, others = 0;
};

/// scores [n], labels [n] (0 or other). With R1 the labelled scores' rank sum:
///   auroc = (R1 - n1 (n1 + 1) / 2) / (n1 n0)
///   variance of R1 = n1 n0 / 12 ((n + 1) - sum over ties (t^3 - t) / (n (n - 1)))
/// Source: Mann and Whitney 1947; Hanley and McNeil 1982 (AUROC); Lehmann 1975 (ties). Throws ShapeError.
RankComparison compare_ranks(std::span<const double> scores, std::span<const uint8_t> labels);

/// Pearson's r. NaN when one side does not vary or there are fewer than two pairs. Throws ShapeError.
double pearson(std::span<const double> x, std::span<const double> y);

/// Pearson's r of scores and 0/1 labels: (mean1 - mean0) / sd * sqrt(n1 n0) / n.
double point_biserial(std::span<const double> scores, std::span<const uint8_t> labels);

struct Correlation {
  double r = 0;  ///< NaN where undefined
  double p = 1;  ///< two-sided, Student's t with n - 2 degrees of freedom; NaN where undefined
};

/// Pearson's r of mid-ranks. Source: Spearman 1904; Kendall and Stuart for p.
Correlation spearman(std::span<const double> x, std::span<const double> y);

}  // namespace branchsae
