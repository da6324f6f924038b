#include "analysis/matching/pairs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/error.h"

namespace branchsae {
namespace {

constexpr int64_t kDeciles = 10;

/// Index of the largest of `count` entries `stride` apart; -1 when all are NaN.
int32_t largest(const float* values, int64_t count, int64_t stride) {
  int32_t best = -1;
  for (int64_t i = 0; i < count; ++i) {
    const float value = values[i * stride];
    if (!std::isnan(value) && (best < 0 || value > values[best * stride])) best = static_cast<int32_t>(i);
  }
  return best;
}

/// Assigns every row a column, rows <= columns, at least total cost: shortest augmenting paths with
/// potentials.
class Assignment {
 public:
  Assignment(View<const float, 2> similarity)
      : similarity_(similarity),
        rows_(similarity.shape[0]),
        columns_(similarity.shape[1]),
        row_potential_(static_cast<size_t>(rows_)),
        column_potential_(static_cast<size_t>(columns_)),
        row_of_(static_cast<size_t>(columns_), -1),
        distance_(static_cast<size_t>(columns_)),
        before_(static_cast<size_t>(columns_)),
        done_(static_cast<size_t>(columns_)) {}

  /// Row of each column, -1 for none.
  std::vector<int64_t> solve() {
    for (int64_t row = 0; row < rows_; ++row) augment(row);
    return row_of_;
  }

 private:
  double reduced_cost(int64_t row, int64_t column) const {
    return -static_cast<double>(similarity_(row, column)) - row_potential_[static_cast<size_t>(row)] -
           column_potential_[static_cast<size_t>(column)];
  }

  void augment(int64_t start) {
    std::ranges::fill(distance_, std::numeric_limits<double>::infinity());
    std::ranges::fill(done_, uint8_t{0});
    std::ranges::fill(before_, int64_t{-1});
    int64_t row = start, sink = -1, column = -1;
    double reached = 0;
    std::vector<int64_t> visited;
    while (sink < 0) {
      const int64_t from = column;
      column = relax(row, from, reached);
      reached = distance_[static_cast<size_t>(column)];
      done_[static_cast<size_t>(column)] = 1;
      visited.push_back(column);
      row = row_of_[static_cast<size_t>(column)];
      if (row < 0) sink = column;
    }
    update_potentials(start, visited, reached);
    for (column = sink; column >= 0;) {
      const int64_t previous = before_[static_cast<size_t>(column)];
      row_of_[static_cast<size_t>(column)] = previous < 0 ? start : row_of_[static_cast<size_t>(previous)];
      column = previous;
    }
  }

  /// Shortens the distances of open columns by way of `row` and returns the nearest.
  int64_t relax(int64_t row, int64_t from, double reached) {
    int64_t nearest = -1;
    for (int64_t c = 0; c < columns_; ++c) {
      const auto at = static_cast<size_t>(c);
      if (done_[at] != 0) continue;
      if (const double by_way = reached + reduced_cost(row, c); by_way < distance_[at]) {
        distance_[at] = by_way;
        before_[at] = from;
      }
      if (nearest < 0 || distance_[at] < distance_[static_cast<size_t>(nearest)]) nearest = c;
    }
    return nearest;
  }

  void update_potentials(int64_t start, const std::vector<int64_t>& visited, double reached) {
    row_potential_[static_cast<size_t>(start)] += reached;
    for (int64_t c : visited) {
      const auto at = static_cast<size_t>(c);
      column_potential_[at] += distance_[at] - reached;
      if (row_of_[at] >= 0) row_potential_[static_cast<size_t>(row_of_[at])] += reached - distance_[at];
    }
  }

  View<const float, 2> similarity_;
  int64_t rows_, columns_;
  std::vector<double> row_potential_, column_potential_;
  std::vector<int64_t> row_of_;
  std::vector<double> distance_;
  std::vector<int64_t> before_;
  std::vector<uint8_t> done_;
};

int64_t same_branch(std::span<const LatentPair> pairs, const BranchProfile& a, const BranchProfile& b,
                    std::span<const int64_t> order) {
  int64_t same = 0;
  for (size_t i = 0; i < pairs.size(); ++i) {
    const LatentPair& from = pairs[static_cast<size_t>(order[i])];
    const int32_t left = a.dominant[static_cast<size_t>(pairs[i].a)];
    same += left >= 0 && left == b.dominant[static_cast<size_t>(from.b)] ? 1 : 0;
  }
  return same;
}

}  // namespace

std::vector<LatentPair> mutual_best(View<const float, 2> similarity, float threshold) {
  std::vector<int32_t> best_row;
  for (int64_t j = 0; j < similarity.shape[1]; ++j) {
    best_row.push_back(
        largest(similarity.data + j * similarity.stride[1], similarity.shape[0], similarity.stride[0]));
  }
  std::vector<LatentPair> pairs;
  for (int64_t i = 0; i < similarity.shape[0]; ++i) {
    const int32_t j =
        largest(similarity.data + i * similarity.stride[0], similarity.shape[1], similarity.stride[1]);
    if (j < 0 || best_row[static_cast<size_t>(j)] != i || !(similarity(i, j) > threshold)) continue;
    pairs.push_back({static_cast<int32_t>(i), j, similarity(i, j)});
  }
  return pairs;
}

std::vector<LatentPair> one_to_one(View<const float, 2> similarity, float threshold) {
  for (int64_t i = 0; i < similarity.shape[0]; ++i) {
    for (int64_t j = 0; j < similarity.shape[1]; ++j) {
      if (std::isnan(similarity(i, j)))
        throw InputError(fmt::format("the similarity of latents {} and {} is not a number", i, j));
    }
  }
  const bool turned = similarity.shape[0] > similarity.shape[1];
  const View<const float, 2> wide =
      turned ? View<const float, 2>(similarity.data, {similarity.shape[1], similarity.shape[0]},
                                    {similarity.stride[1], similarity.stride[0]})
             : similarity;
  const std::vector<int64_t> row_of = Assignment(wide).solve();
  std::vector<LatentPair> pairs;
  for (size_t c = 0; c < row_of.size(); ++c) {
    if (row_of[c] < 0) continue;
    const auto row = static_cast<int32_t>(row_of[c]), column = static_cast<int32_t>(c);
    const float value = wide(row, column);
    if (value > threshold)
      pairs.push_back(turned ? LatentPair{column, row, value} : LatentPair{row, column, value});
  }
  std::ranges::sort(pairs, {}, &LatentPair::a);
  return pairs;
}

double similarity_quantile(View<const float, 2> similarity, std::span<const uint8_t> live_a,
                           std::span<const uint8_t> live_b, double q) {
  if (static_cast<int64_t>(live_a.size()) != similarity.shape[0] ||
      static_cast<int64_t>(live_b.size()) != similarity.shape[1]) {
    throw ShapeError(fmt::format("similarity {} x {} beside {} and {} latents", similarity.shape[0],
                                 similarity.shape[1], live_a.size(), live_b.size()));
  }
  std::vector<float> values;
  for (size_t i = 0; i < live_a.size(); ++i) {
    for (size_t j = 0; live_a[i] != 0 && j < live_b.size(); ++j) {
      if (live_b[j] != 0) values.push_back(similarity(static_cast<int64_t>(i), static_cast<int64_t>(j)));
    }
  }
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  const auto rank = static_cast<std::ptrdiff_t>(q * static_cast<double>(values.size() - 1));
  std::ranges::nth_element(values, values.begin() + rank);
  return static_cast<double>(values[static_cast<size_t>(rank)]);
}

BranchAgreement branch_agreement(std::span<const LatentPair> pairs, const BranchProfile& a,
                                 const BranchProfile& b, int32_t branch, int32_t branches, int64_t rounds,
                                 uint64_t seed) {
  BranchAgreement result;
  result.pairs = static_cast<int64_t>(pairs.size());
  result.table.assign(static_cast<size_t>(branches), std::vector<int64_t>(static_cast<size_t>(branches)));
  std::vector<double> shares_a, shares_b, density;
  for (const LatentPair& pair : pairs) {
    const int32_t left = a.dominant[static_cast<size_t>(pair.a)],
                  right = b.dominant[static_cast<size_t>(pair.b)];
    int64_t& cell = left == branch
                        ? (right == branch ? result.in_branch.both : result.in_branch.first_only)
                        : (right == branch ? result.in_branch.second_only : result.in_branch.neither);
    ++cell;
    if (left >= 0 && right >= 0) ++result.table[static_cast<size_t>(left)][static_cast<size_t>(right)];
    shares_a.push_back(a.share[static_cast<size_t>(pair.a)]);
    shares_b.push_back(b.share[static_cast<size_t>(pair.b)]);
    density.push_back(b.density[static_cast<size_t>(pair.b)]);
  }
  result.odds = odds_ratio(result.in_branch);
  result.fisher = fisher_exact(result.in_branch);
  result.kappa = cohen_kappa(result.table);
  result.chi = chi_square(result.table);
  result.shares = spearman(shares_a, shares_b);
  result.same = permutation_test(Strata::by_quantile(density, kDeciles), rounds, seed, [&](auto order) {
    return static_cast<double>(same_branch(pairs, a, b, order));
  });
  return result;
}

}  // namespace branchsae
