#include "analysis/statistics/intervals.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "analysis/statistics/ranks.h"
#include "engine/error.h"

namespace branchsae {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kNormal975 = 1.959963984540054;  // 97.5th percentile of the normal distribution

double mean(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double covariance(std::span<const double> x, std::span<const double> y) {
  if (x.size() != y.size()) throw ShapeError("AUROCs of different units have no covariance");
  if (x.size() < 2) return kNaN;
  const double mean_x = mean(x), mean_y = mean(y);
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += (x[i] - mean_x) * (y[i] - mean_y);
  return sum / static_cast<double>(x.size() - 1);
}

}  // namespace

Interval normal_interval(double value, double deviation) {
  return {value - kNormal975 * deviation, value + kNormal975 * deviation};
}

Placements placements(std::span<const double> scores, std::span<const uint8_t> labels) {
  if (scores.size() != labels.size()) throw ShapeError("scores and labels are not of one length");
  std::vector<double> labelled, others;
  for (size_t i = 0; i < scores.size(); ++i) (labels[i] != 0 ? labelled : others).push_back(scores[i]);
  const std::vector<double> all = mid_ranks(scores), among_labelled = mid_ranks(labelled),
                            among_others = mid_ranks(others);
  const auto n1 = static_cast<double>(labelled.size()), n0 = static_cast<double>(others.size());
  Placements result;
  if (labelled.empty() || others.empty()) return result;
  // A rank among all less the rank among one's own counts those of the other group that score less.
  for (size_t i = 0; i < scores.size(); ++i) {
    if (labels[i] != 0) {
      result.labelled.push_back((all[i] - among_labelled[result.labelled.size()]) / n0);
    } else {
      result.others.push_back(1 - (all[i] - among_others[result.others.size()]) / n1);
    }
  }
  result.auroc = mean(result.labelled);
  return result;
}

double auroc_covariance(const Placements& a, const Placements& b) {
  return covariance(a.labelled, b.labelled) / static_cast<double>(a.labelled.size()) +
         covariance(a.others, b.others) / static_cast<double>(a.others.size());
}

Interval spearman_interval(double r, int64_t n) {
  if (std::isnan(r) || n < 4) return {kNaN, kNaN};
  if (std::abs(r) >= 1) return {r, r};
  const Interval z = normal_interval(std::atanh(r), std::sqrt((1 + r * r / 2) / static_cast<double>(n - 3)));
  return {std::tanh(z.low), std::tanh(z.high)};
}

double mutual_information_deviation(const CountTable& table) {
  const size_t columns = table.empty() ? 0 : table.front().size();
  std::vector<double> rows(table.size()), sums(columns);
  double total = 0;
  for (size_t i = 0; i < table.size(); ++i) {
    if (table[i].size() != columns) throw InputError("the rows of a table of counts differ in length");
    for (size_t j = 0; j < columns; ++j) {
      const auto count = static_cast<double>(table[i][j]);
      rows[i] += count;
      sums[j] += count;
      total += count;
    }
  }
  if (total == 0) return kNaN;
  double information = 0, squares = 0;
  for (size_t i = 0; i < table.size(); ++i) {
    for (size_t j = 0; j < columns; ++j) {
      const auto count = static_cast<double>(table[i][j]);
      if (count == 0) continue;
      const double bits = std::log2(count * total / (rows[i] * sums[j]));
      information += count / total * bits;
      squares += count / total * bits * bits;
    }
  }
  return std::sqrt(std::max(0.0, squares - information * information) / total);
}

}  // namespace branchsae
