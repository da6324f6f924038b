#include "analysis/statistics/ranks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <unsupported/Eigen/SpecialFunctions>

#include "engine/error.h"

namespace branchsae {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

void check_lengths(size_t a, size_t b) {
  if (a != b) throw ShapeError(fmt::format("{} values beside {}: they must be as many", a, b));
}

/// Calls group(begin, end) for every run of equal values in `order`.
template <class Group>
void for_each_tie(std::span<const double> values, const std::vector<size_t>& order, const Group& group) {
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin + 1;
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    group(begin, end);
    begin = end;
  }
}

std::vector<size_t> ascending(std::span<const double> values) {
  if (std::ranges::any_of(values, [](double value) { return std::isnan(value); }))
    throw InputError("a NaN has no rank");
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::sort(order, {}, [values](size_t i) { return values[i]; });
  return order;
}

double mean(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

/// Two-sided p of Student's t for a correlation of n pairs: I_x(a, 1/2) with x = df / (df + t^2) = 1 - r^2.
double correlation_p(double r, size_t n) {
  if (std::isnan(r) || n < 3) return kNaN;
  const double x = (1 - r) * (1 + r);
  if (x <= 0) return 0;
  return Eigen::numext::betainc(static_cast<double>(n - 2) / 2, 0.5, x);
}

}  // namespace

std::vector<double> mid_ranks(std::span<const double> values) {
  const std::vector<size_t> order = ascending(values);
  std::vector<double> ranks(values.size());
  for_each_tie(values, order, [&](size_t begin, size_t end) {
    const double rank = static_cast<double>(begin + 1 + end) / 2;
    for (size_t i = begin; i < end; ++i) ranks[order[i]] = rank;
  });
  return ranks;
}

RankComparison compare_ranks(std::span<const double> scores, std::span<const uint8_t> labels) {
  check_lengths(scores.size(), labels.size());
  const std::vector<size_t> order = ascending(scores);
  RankComparison result;
  double rank_sum = 0, tie_sum = 0;
  for_each_tie(scores, order, [&](size_t begin, size_t end) {
    const double rank = static_cast<double>(begin + 1 + end) / 2, t = static_cast<double>(end - begin);
    tie_sum += t * t * t - t;
    for (size_t i = begin; i < end; ++i) {
      if (labels[order[i]] == 0) continue;
      rank_sum += rank;
      ++result.labelled;
    }
  });
  result.others = static_cast<int64_t>(scores.size()) - result.labelled;
  if (result.labelled == 0 || result.others == 0) return result;
  const auto n1 = static_cast<double>(result.labelled), n0 = static_cast<double>(result.others), n = n1 + n0;
  const double wins = rank_sum - n1 * (n1 + 1) / 2;
  result.auroc = wins / (n1 * n0);
  const double variance = n1 * n0 / 12 * ((n + 1) - tie_sum / (n * (n - 1)));
  if (variance <= 0) return result;
  result.z = (wins - n1 * n0 / 2) / std::sqrt(variance);
  result.p = std::erfc(std::abs(result.z) / std::numbers::sqrt2);
  return result;
}

double pearson(std::span<const double> x, std::span<const double> y) {
  check_lengths(x.size(), y.size());
  if (x.size() < 2) return kNaN;
  const double mean_x = mean(x), mean_y = mean(y);
  double xx = 0, yy = 0, xy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double dx = x[i] - mean_x, dy = y[i] - mean_y;
    xx += dx * dx;
    yy += dy * dy;
    xy += dx * dy;
  }
  if (xx == 0 || yy == 0) return kNaN;
  return std::clamp(xy / (std::sqrt(xx) * std::sqrt(yy)), -1.0, 1.0);
}

double point_biserial(std::span<const double> scores, std::span<const uint8_t> labels) {
  check_lengths(scores.size(), labels.size());
  std::vector<double> numbers(labels.size());
  std::ranges::transform(labels, numbers.begin(), [](uint8_t label) { return label != 0 ? 1.0 : 0.0; });
  return pearson(scores, numbers);
}

Correlation spearman(std::span<const double> x, std::span<const double> y) {
  check_lengths(x.size(), y.size());
  const double r = pearson(mid_ranks(x), mid_ranks(y));
  return {r, correlation_p(r, x.size())};
}

}  // namespace branchsae
