#include "analysis/matching/pairs.h"

#include <algorithm>
#include <limits>
#include <mutex>

namespace branchsae {
namespace {

/// The largest r of a row or column so far, and where.
struct Best {
  float r = 0;
  int32_t at = -1;  ///< only r > 0 counts
  void offer(float value, int32_t place) {
    if (value > r || (value == r && at >= 0 && place < at)) {
      r = value;
      at = place;
    }
  }
};

/// What all blocks of rows found; rows are written by one block each, columns under the lock.
class Search {
 public:
  Search(const LatentSimilarity& similarity, double threshold, std::span<const LatentPair> watched)
      : threshold_(threshold),
        watched_(watched),
        rows_(static_cast<size_t>(similarity.rows())),
        columns_(static_cast<size_t>(similarity.columns())),
        candidates_(static_cast<size_t>(similarity.rows())),
        watched_r_(watched.size()) {}

  void take(int64_t first, View<const float, 2> r) {
    std::vector<Best> columns(columns_.size());
    for (int64_t i = 0; i < r.shape[0]; ++i) take_row(static_cast<int32_t>(first + i), r.row(i), columns);
    const std::lock_guard lock(mutex_);
    for (size_t j = 0; j < columns.size(); ++j) {
      if (columns[j].at >= 0) columns_[j].offer(columns[j].r, columns[j].at);
    }
  }

  PairSearch result() && {
    PairSearch found;
    for (size_t i = 0; i < rows_.size(); ++i) {
      const Best& best = rows_[i];
      const auto row = static_cast<int32_t>(i);
      if (best.at >= 0 && columns_[static_cast<size_t>(best.at)].at == row && above(best.r))
        found.mutual.push_back({row, best.at, best.r});
      found.candidates.insert(found.candidates.end(), candidates_[i].begin(), candidates_[i].end());
      candidates_[i] = {};
    }
    found.watched = std::move(watched_r_);
    return found;
  }

 private:
  bool above(float r) const { return static_cast<double>(r) > threshold_; }

  void take_row(int32_t row, const float* r, std::vector<Best>& columns) {
    Best& best = rows_[static_cast<size_t>(row)];
    for (size_t j = 0; j < columns.size(); ++j) {
      const auto column = static_cast<int32_t>(j);
      best.offer(r[j], column);
      columns[j].offer(r[j], row);
      if (above(r[j])) candidates_[static_cast<size_t>(row)].push_back({row, column, r[j]});
    }
    const auto pair = std::ranges::lower_bound(watched_, row, {}, &LatentPair::a);
    if (pair != watched_.end() && pair->a == row)
      watched_r_[static_cast<size_t>(pair - watched_.begin())] = r[pair->b];
  }

  double threshold_;
  std::span<const LatentPair> watched_;
  std::vector<Best> rows_, columns_;
  std::vector<std::vector<LatentPair>> candidates_;  // by row
  std::vector<float> watched_r_;
  std::mutex mutex_;
};

}  // namespace

PairSearch find_pairs(const LatentSimilarity& similarity, int threads, double threshold,
                      std::span<const LatentPair> watched) {
  Search search(similarity, threshold, watched);
  similarity.for_rows(threads, [&](int64_t first, View<const float, 2> r) { search.take(first, r); });
  return std::move(search).result();
}

double median_similarity(std::vector<float> r) {
  if (r.empty()) return std::numeric_limits<double>::quiet_NaN();
  const auto middle = r.begin() + std::ssize(r) / 2;
  std::ranges::nth_element(r, middle);
  return static_cast<double>(*middle);
}

}  // namespace branchsae
