#pragma once
/// Tests on counts: enrichment of a draw, 2 x 2 and larger tables. In double; tails are summed in log space,
/// so that p below 1e-300 keeps its logarithm.
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace branchsae {

/// A probability that may be too small for a double.
struct Tail {
  double p = 1;
  double log_p = 0;  ///< natural
};

/// ln n! for n up to a bound fixed when made; exact to about 1e-17 relative. Reused across many tests of one
/// population.
class LogFactorials {
 public:
  /// Throws InputError when largest is negative or absurd.
  explicit LogFactorials(int64_t largest);
  int64_t largest() const { return static_cast<int64_t>(values_.size()) - 1; }
  long double operator()(int64_t n) const { return values_[static_cast<size_t>(n)]; }
  /// ln of n over k; 0 <= k <= n <= largest().
  long double choose(int64_t n, int64_t k) const { return (*this)(n) - (*this)(k) - (*this)(n - k); }

 private:
  std::vector<long double> values_;
};

/// P(at least `hits` of `draws` drawn without replacement are among the `marked` of `population`):
///   sum_{t >= hits} C(marked, t) C(population - marked, draws - t) / C(population, draws)
/// Throws InputError when the numbers cannot be: marked or draws beyond the population, a negative.
Tail hypergeometric_tail(int64_t hits, int64_t draws, int64_t marked, int64_t population,
                         const LogFactorials& factorials);
/// The same with factorials of its own.
Tail hypergeometric_tail(int64_t hits, int64_t draws, int64_t marked, int64_t population);

/// [[both, first only], [second only, neither]].
struct FourFold {
  int64_t both = 0, first_only = 0, second_only = 0, neither = 0;
  int64_t total() const { return both + first_only + second_only + neither; }
  /// Whether a row or a column holds nothing: no table of these margins differs from this one, so there is no
  /// ratio of odds to measure.
  bool has_empty_margin() const {
    return both + first_only == 0 || second_only + neither == 0 || both + second_only == 0 ||
           first_only + neither == 0;
  }
};

struct FisherExact {
  double two_sided = 1;  ///< all tables of the same margins that are at most as probable
  Tail greater;          ///< at least as many in `both`
  double less = 1;       ///< at most as many
};
/// Source: Fisher 1935. Throws InputError for a negative count.
FisherExact fisher_exact(const FourFold& table);

struct OddsRatio {
  double value = 1, low = 0, high = 0;  ///< with its 95 % confidence interval
};
/// With 0.5 added to every cell (Haldane 1956, Anscombe 1956); interval by Woolf 1955 on the logarithm.
OddsRatio odds_ratio(const FourFold& table);

/// Counts [rows][columns]; rows equally long.
using CountTable = std::vector<std::vector<int64_t>>;

struct ChiSquare {
  double statistic = 0;  ///< Pearson's, no continuity correction
  int64_t degrees = 0;
  double p = 1;
  double cramers_v = 0;  ///< sqrt(statistic / (n (min(rows, columns) - 1)))
};
/// Rows and columns without any count are left out. NaN fields where fewer than two are left. Throws
/// InputError for a ragged table or a negative count.
ChiSquare chi_square(const CountTable& table);

/// Agreement beyond chance of two labellings, square table: (observed - expected) / (1 - expected). NaN when
/// chance alone agrees fully. Source: Cohen 1960. Throws ShapeError when not square.
double cohen_kappa(const CountTable& table);

}  // namespace branchsae
