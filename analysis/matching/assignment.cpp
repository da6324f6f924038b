#include "analysis/matching/assignment.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <queue>

#include "engine/error.h"

namespace branchsae {
namespace {

constexpr double kFar = std::numeric_limits<double>::infinity();

/// Gives every row a column of least total cost, the cost being the negative similarity. Each row also has a
/// column of its own, of cost 0, which stands for staying alone: so there always is a solution, and nothing
/// is paired at a loss.
class Assignment {
 public:
  Assignment(std::span<const LatentPair> edges, std::vector<size_t> begins, int64_t columns)
      : edges_(edges), begins_(std::move(begins)), shared_(static_cast<size_t>(columns)) {
    const size_t rows = begins_.size() - 1, all = shared_ + rows;
    row_potential_.resize(rows);
    column_potential_.resize(all);
    edge_of_.assign(all, kNone);
    column_of_.assign(rows, kNone);
    row_of_.assign(all, -1);
    distance_.assign(all, kFar);
    reached_by_.resize(all);
    edge_by_.resize(all);
    done_.resize(all);
  }

  /// Number of the edge that each column got; kNone for none.
  std::vector<size_t> solve() {
    for (size_t row = 0; row + 1 < begins_.size(); ++row) augment(static_cast<int64_t>(row));
    return {edge_of_.begin(), edge_of_.begin() + static_cast<std::ptrdiff_t>(shared_)};
  }

  static constexpr size_t kNone = static_cast<size_t>(-1);

 private:
  using Reach = std::pair<double, size_t>;  // distance, column: equal distances by ascending column

  size_t own_column(int64_t row) const { return shared_ + static_cast<size_t>(row); }

  void reach(int64_t row, size_t column, size_t edge, double cost, double so_far) {
    if (done_[column] != 0) return;
    const double reduced = cost - row_potential_[static_cast<size_t>(row)] - column_potential_[column];
    const double by_way = so_far + std::max(0.0, reduced);  // below 0 by rounding only
    if (!(by_way < distance_[column])) return;
    if (distance_[column] == kFar) touched_.push_back(column);
    distance_[column] = by_way;
    reached_by_[column] = row;
    edge_by_[column] = edge;
    heap_.emplace(by_way, column);
  }

  void reach_from(int64_t row, double so_far) {
    for (size_t e = begins_[static_cast<size_t>(row)]; e < begins_[static_cast<size_t>(row) + 1]; ++e)
      reach(row, static_cast<size_t>(edges_[e].b), e, -static_cast<double>(edges_[e].similarity), so_far);
    reach(row, own_column(row), kNone, 0, so_far);
  }

  /// A new row's potential makes its cheapest edge free, so that no reduced cost is negative.
  void start(int64_t row) {
    double least = -column_potential_[own_column(row)];
    for (size_t e = begins_[static_cast<size_t>(row)]; e < begins_[static_cast<size_t>(row) + 1]; ++e) {
      const double cost = -static_cast<double>(edges_[e].similarity);
      least = std::min(least, cost - column_potential_[static_cast<size_t>(edges_[e].b)]);
    }
    row_potential_[static_cast<size_t>(row)] = least;
  }

  void augment(int64_t row) {
    start(row);
    heap_ = {};
    size_t sink = kNone;
    std::vector<size_t> settled;
    reach_from(row, 0);
    while (sink == kNone) {
      const auto [distance, column] = heap_.top();
      heap_.pop();
      if (done_[column] != 0) continue;
      done_[column] = 1;
      settled.push_back(column);
      if (row_of_[column] < 0) {
        sink = column;
      } else {
        reach_from(row_of_[column], distance);
      }
    }
    update_potentials(row, settled, distance_[sink]);
    flip(row, sink);
    for (size_t column : touched_) {
      distance_[column] = kFar;
      done_[column] = 0;
    }
    touched_.clear();
  }

  void update_potentials(int64_t row, const std::vector<size_t>& settled, double reached) {
    row_potential_[static_cast<size_t>(row)] += reached;
    for (size_t column : settled) {
      const double slack = reached - distance_[column];
      column_potential_[column] -= slack;
      if (row_of_[column] >= 0) row_potential_[static_cast<size_t>(row_of_[column])] += slack;
    }
  }

  /// Every row on the path from `start` takes the column that it reached.
  void flip(int64_t start, size_t column) {
    while (true) {
      const int64_t row = reached_by_[column];
      const size_t before = column_of_[static_cast<size_t>(row)];
      column_of_[static_cast<size_t>(row)] = column;
      row_of_[column] = row;
      edge_of_[column] = edge_by_[column];
      if (row == start) return;
      column = before;
    }
  }

  std::span<const LatentPair> edges_;  // by row
  std::vector<size_t> begins_;         // [rows + 1] of a row's edges
  size_t shared_;                      // columns that stand for latents; the rest are the rows' own
  std::vector<double> row_potential_, column_potential_;
  std::vector<size_t> edge_of_;
  std::vector<int64_t> row_of_;
  std::vector<size_t> column_of_;  // [rows] kNone for a row whose turn has not come
  // Of the present search.
  std::vector<double> distance_;
  std::vector<int64_t> reached_by_;
  std::vector<size_t> edge_by_;
  std::vector<uint8_t> done_;
  std::vector<size_t> touched_;
  std::priority_queue<Reach, std::vector<Reach>, std::greater<>> heap_;
};

void check(const LatentPair& pair, int64_t rows, int64_t columns) {
  if (pair.a < 0 || pair.a >= rows || pair.b < 0 || pair.b >= columns)
    throw InputError(
        fmt::format("a pair of latents {} and {}: there are {} and {}", pair.a, pair.b, rows, columns));
  if (!std::isfinite(pair.similarity))
    throw InputError(
        fmt::format("the similarity of latents {} and {} is not a finite number", pair.a, pair.b));
}

}  // namespace

std::vector<LatentPair> one_to_one(std::span<const LatentPair> candidates, int64_t rows, int64_t columns) {
  std::vector<LatentPair> edges;
  for (const LatentPair& pair : candidates) {
    check(pair, rows, columns);
    if (pair.similarity > 0) edges.push_back(pair);
  }
  std::ranges::sort(
      edges, [](const LatentPair& x, const LatentPair& y) { return x.a != y.a ? x.a < y.a : x.b < y.b; });
  std::vector<size_t> begins(static_cast<size_t>(rows) + 1);
  for (const LatentPair& edge : edges) ++begins[static_cast<size_t>(edge.a) + 1];
  for (size_t i = 1; i < begins.size(); ++i) begins[i] += begins[i - 1];
  std::vector<LatentPair> pairs;
  for (size_t edge : Assignment(edges, begins, columns).solve()) {
    if (edge != Assignment::kNone) pairs.push_back(edges[edge]);
  }
  std::ranges::sort(pairs, {}, &LatentPair::a);
  return pairs;
}

}  // namespace branchsae
