#pragma once
/// Stable counting sort of the selected (token, latent) pairs by latent.
#include "cpu/sae/array.h"
#include "cpu/sae/kernels.h"

namespace branchsae::cpu {

/// Selected pairs in token order: row v has counts[v] entries. Rows from `main_rows` on have AuxK's capacity.
class PairRows {
 public:
  PairRows() = default;
  PairRows(int64_t main_rows, int64_t k, int64_t aux_rows, int64_t aux_k);
  int64_t offset(int64_t row) const {
    return row < main_rows_ ? row * k_ : main_rows_ * k_ + (row - main_rows_) * aux_k_;
  }
  int64_t capacity() const { return latents.size(); }
  int64_t size_bytes() const {
    return latents.size_bytes() + zc.size_bytes() + g.size_bytes() + counts.size_bytes();
  }

  Array<int32_t> latents;
  Array<float> zc, g;
  Array<int32_t> counts;  ///< [rows]

 private:
  int64_t main_rows_ = 0, k_ = 0, aux_k_ = 0;
};

/// Tokens of one latent come in ascending order, so sums over them have the same bits for any number of
/// threads.
class GradientSort {
 public:
  GradientSort() = default;
  GradientSort(int64_t latents, int64_t capacity, int threads);
  /// To be called by every thread of a parallel region with `threads` threads; contains barriers.
  /// Sorts rows [0, main_rows) and [aux_begin, aux_begin + aux_rows).
  void run(const PairRows& rows, int64_t main_rows, int64_t aux_begin, int64_t aux_rows, int thread,
           int threads);
  const Pair* begin(int64_t latent) const { return pairs_.data() + starts_[latent]; }
  int64_t count(int64_t latent) const { return starts_[latent + 1] - starts_[latent]; }
  int64_t size_bytes() const { return pairs_.size_bytes() + starts_.size_bytes() + cursors_.size_bytes(); }

 private:
  int64_t latents_ = 0;
  Array<Pair> pairs_;
  Array<int64_t> starts_;   ///< [latents + 1]
  Array<int64_t> cursors_;  ///< [threads, latents]
};

}  // namespace branchsae::cpu
