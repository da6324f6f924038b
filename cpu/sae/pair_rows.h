#pragma once
/// The selected (token, latent) pairs of a batch, in token order, with what each adds to the gradient.
#include "cpu/sae/array.h"
#include "cpu/sae/kernels.h"

namespace branchsae::cpu {

/// Row v holds a token's pairs in ascending order of latents. Rows from `main_rows` on have AuxK's capacity.
/// Each row also says where the ranges of latents begin in it, so that whoever sums a range reads no others.
class PairRows {
 public:
  PairRows() = default;
  PairRows(int64_t main_rows, int64_t k, int64_t aux_rows, int64_t aux_k, int64_t range, int64_t ranges);
  /// Latents ascending; zc = factor z, g = factor * products.
  void put(int64_t row, const int32_t* latents, int64_t count, const float* z, const float* products,
           float factor);
  /// Pairs of `rows` rows from `first` on that belong to a range; `first` and the last are both main rows or
  /// both AuxK's.
  RangePairs of_range(int64_t range, int64_t first, int64_t rows) const;
  int64_t size_bytes() const {
    return latents_.size_bytes() + zc_.size_bytes() + g_.size_bytes() + bounds_.size_bytes();
  }

 private:
  int64_t offset(int64_t row) const {
    return row < main_rows_ ? row * k_ : main_rows_ * k_ + (row - main_rows_) * aux_k_;
  }

  int64_t main_rows_ = 0, k_ = 0, aux_k_ = 0, range_ = 0, ranges_ = 0;
  Array<int32_t> latents_;
  Array<float> zc_, g_;
  Array<int32_t> bounds_;  ///< [rows, ranges + 1] places within the row
};

}  // namespace branchsae::cpu
