#include "cpu/sae/pair_rows.h"

#include <algorithm>

namespace branchsae::cpu {

PairRows::PairRows(int64_t main_rows, int64_t k, int64_t aux_rows, int64_t aux_k, int64_t range,
                   int64_t ranges)
    : main_rows_(main_rows), k_(k), aux_k_(aux_k), range_(range), ranges_(ranges) {
  const int64_t capacity = main_rows * k + aux_rows * aux_k;
  latents_ = Array<int32_t>(capacity, "sae.pairs");
  zc_ = Array<float>(capacity, "sae.pairs");
  g_ = Array<float>(capacity, "sae.pairs");
  bounds_ = Array<int32_t>((main_rows + aux_rows) * (ranges + 1), "sae.pair_bounds");
}

void PairRows::put(int64_t row, const int32_t* latents, int64_t count, const float* z, const float* products,
                   float factor) {
  const int64_t begin = offset(row);
  std::copy_n(latents, count, latents_.data() + begin);
  for (int64_t i = 0; i < count; ++i) zc_[begin + i] = factor * z[i];
  for (int64_t i = 0; i < count; ++i) g_[begin + i] = factor * products[i];
  int32_t* bounds = bounds_.data() + row * (ranges_ + 1);
  int64_t place = 0;
  for (int64_t r = 0; r < ranges_; ++r) {
    bounds[r] = static_cast<int32_t>(place);
    const int64_t end = (r + 1) * range_;
    while (place < count && latents[place] < end) ++place;
  }
  bounds[ranges_] = static_cast<int32_t>(count);
}

RangePairs PairRows::of_range(int64_t range, int64_t first, int64_t rows) const {
  const int64_t begin = offset(first);
  return {rows,
          bounds_.data() + first * (ranges_ + 1) + range,
          ranges_ + 1,
          latents_.data() + begin,
          zc_.data() + begin,
          g_.data() + begin,
          first < main_rows_ ? k_ : aux_k_,
          range * range_};
}

}  // namespace branchsae::cpu
