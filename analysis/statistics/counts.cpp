#include "analysis/statistics/counts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <unsupported/Eigen/SpecialFunctions>

#include "engine/error.h"

namespace branchsae {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kNormal975 = 1.959963984540054;  // 97.5th percentile of the normal distribution
constexpr int64_t kMostFactorials = int64_t{1} << 28;
// Tables as probable as the observed one but for rounding count as at most as probable.
constexpr long double kSameProbability = 1e-14L;

/// The number of marked ones among the drawn, as a distribution.
class Hypergeometric {
 public:
  Hypergeometric(int64_t draws, int64_t marked, int64_t population, const LogFactorials& factorials)
      : draws_(draws), marked_(marked), population_(population), factorials_(factorials) {
    if (draws < 0 || marked < 0 || draws > population || marked > population) {
      throw InputError(fmt::format("{} draws and {} marked of a population of {}: both must be within it",
                                   draws, marked, population));
    }
    if (factorials.largest() < population) {
      throw InputError(fmt::format("factorials up to {} for a population of {}: too few",
                                   factorials.largest(), population));
    }
  }
  int64_t least() const { return std::max<int64_t>(0, draws_ + marked_ - population_); }
  int64_t most() const { return std::min(draws_, marked_); }
  long double log_probability(int64_t hits) const {
    return factorials_.choose(marked_, hits) + factorials_.choose(population_ - marked_, draws_ - hits) -
           factorials_.choose(population_, draws_);
  }
  /// ln of the sum over first..last, both within least()..most().
  long double log_sum(int64_t first, int64_t last) const {
    long double peak = -std::numeric_limits<long double>::infinity();
    for (int64_t hits = first; hits <= last; ++hits) peak = std::max(peak, log_probability(hits));
    long double sum = 0;
    for (int64_t hits = first; hits <= last; ++hits) sum += std::exp(log_probability(hits) - peak);
    return peak + std::log(sum);
  }
  Tail at_least(int64_t hits) const {
    if (hits <= least()) return {1, 0};
    if (hits > most()) return {0, -std::numeric_limits<double>::infinity()};
    const long double log_p = std::min(log_sum(hits, most()), 0.0L);
    return {static_cast<double>(std::exp(log_p)), static_cast<double>(log_p)};
  }
  double at_most(int64_t hits) const {
    if (hits >= most()) return 1;
    if (hits < least()) return 0;
    return std::min(1.0, static_cast<double>(std::exp(log_sum(least(), hits))));
  }
  double as_extreme_as(int64_t hits) const {
    const long double limit = log_probability(hits) + kSameProbability;
    long double sum = 0;
    for (int64_t other = least(); other <= most(); ++other) {
      if (const long double p = log_probability(other); p <= limit) sum += std::exp(p);
    }
    return std::min(1.0, static_cast<double>(sum));
  }

 private:
  int64_t draws_, marked_, population_;
  const LogFactorials& factorials_;
};

void check(const FourFold& table) {
  if (table.both < 0 || table.first_only < 0 || table.second_only < 0 || table.neither < 0)
    throw InputError("a table of counts holds a negative one");
}

struct Margins {
  std::vector<double> rows, columns;
  double total = 0;
};

Margins margins_of(const CountTable& table) {
  Margins margins;
  margins.rows.assign(table.size(), 0);
  margins.columns.assign(table.empty() ? 0 : table.front().size(), 0);
  for (size_t i = 0; i < table.size(); ++i) {
    if (table[i].size() != margins.columns.size())
      throw InputError(fmt::format("row {} of a table of counts has {} columns, row 0 has {}", i,
                                   table[i].size(), margins.columns.size()));
    for (size_t j = 0; j < table[i].size(); ++j) {
      if (table[i][j] < 0) throw InputError("a table of counts holds a negative one");
      const auto count = static_cast<double>(table[i][j]);
      margins.rows[i] += count;
      margins.columns[j] += count;
      margins.total += count;
    }
  }
  return margins;
}

int64_t filled(const std::vector<double>& sums) {
  return std::ranges::count_if(sums, [](double sum) { return sum > 0; });
}

}  // namespace

LogFactorials::LogFactorials(int64_t largest) {
  if (largest < 0 || largest > kMostFactorials)
    throw InputError(fmt::format("factorials up to {}: it must be 0..{}", largest, kMostFactorials));
  values_.resize(static_cast<size_t>(largest) + 1);
  for (size_t i = 1; i < values_.size(); ++i)
    values_[i] = values_[i - 1] + std::log(static_cast<long double>(i));
}

Tail hypergeometric_tail(int64_t hits, int64_t draws, int64_t marked, int64_t population,
                         const LogFactorials& factorials) {
  return Hypergeometric(draws, marked, population, factorials).at_least(hits);
}

Tail hypergeometric_tail(int64_t hits, int64_t draws, int64_t marked, int64_t population) {
  const LogFactorials factorials(population);
  return hypergeometric_tail(hits, draws, marked, population, factorials);
}

FisherExact fisher_exact(const FourFold& table) {
  check(table);
  const LogFactorials factorials(table.total());
  const Hypergeometric both(table.both + table.first_only, table.both + table.second_only, table.total(),
                            factorials);
  return {both.as_extreme_as(table.both), both.at_least(table.both), both.at_most(table.both)};
}

OddsRatio odds_ratio(const FourFold& table) {
  check(table);
  const double a = static_cast<double>(table.both) + 0.5, b = static_cast<double>(table.first_only) + 0.5,
               c = static_cast<double>(table.second_only) + 0.5, d = static_cast<double>(table.neither) + 0.5;
  const double log_ratio = std::log(a) - std::log(b) - std::log(c) + std::log(d);
  const double reach = kNormal975 * std::sqrt(1 / a + 1 / b + 1 / c + 1 / d);
  return {std::exp(log_ratio), std::exp(log_ratio - reach), std::exp(log_ratio + reach)};
}

ChiSquare chi_square(const CountTable& table) {
  const Margins margins = margins_of(table);
  const int64_t rows = filled(margins.rows), columns = filled(margins.columns);
  if (rows < 2 || columns < 2) return {kNaN, 0, kNaN, kNaN};
  ChiSquare result{.degrees = (rows - 1) * (columns - 1)};
  for (size_t i = 0; i < table.size(); ++i) {
    for (size_t j = 0; j < table[i].size(); ++j) {
      const double expected = margins.rows[i] * margins.columns[j] / margins.total;
      if (expected == 0) continue;
      const double off = static_cast<double>(table[i][j]) - expected;
      result.statistic += off * off / expected;
    }
  }
  result.p = Eigen::numext::igammac(static_cast<double>(result.degrees) / 2, result.statistic / 2);
  result.cramers_v =
      std::sqrt(result.statistic / (margins.total * static_cast<double>(std::min(rows, columns) - 1)));
  return result;
}

double cohen_kappa(const CountTable& table) {
  const Margins margins = margins_of(table);
  if (margins.rows.size() != margins.columns.size())
    throw ShapeError(fmt::format("kappa of a table of {} x {}: it must be square", margins.rows.size(),
                                 margins.columns.size()));
  double observed = 0, expected = 0;
  for (size_t i = 0; i < table.size(); ++i) {
    observed += static_cast<double>(table[i][i]);
    expected += margins.rows[i] * margins.columns[i] / margins.total;
  }
  const double room = margins.total - expected;
  return room > 0 ? (observed - expected) / room : kNaN;
}

}  // namespace branchsae
