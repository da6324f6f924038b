#include "cpu/sae/gradient_sort.h"

#include <algorithm>

namespace branchsae::cpu {
namespace {

// Calls body(row) for this thread's share of both groups of rows, in ascending order.
template <class Body>
void for_my_rows(int64_t main_rows, int64_t aux_begin, int64_t aux_rows, int thread, int threads,
                 const Body& body) {
  const int64_t total = main_rows + aux_rows;
  const int64_t begin = total * thread / threads, end = total * (thread + 1) / threads;
  for (int64_t i = begin; i < end; ++i) body(i < main_rows ? i : aux_begin + i - main_rows);
}

}  // namespace

PairRows::PairRows(int64_t main_rows, int64_t k, int64_t aux_rows, int64_t aux_k)
    : main_rows_(main_rows), k_(k), aux_k_(aux_k) {
  const int64_t capacity = main_rows * k + aux_rows * aux_k;
  latents = Array<int32_t>(capacity, "sae.pairs");
  zc = Array<float>(capacity, "sae.pairs");
  g = Array<float>(capacity, "sae.pairs");
  counts = Array<int32_t>(main_rows + aux_rows, "sae.pair_counts");
}

GradientSort::GradientSort(int64_t latents, int64_t capacity, int threads)
    : latents_(latents),
      pairs_(capacity, "sae.sorted_pairs"),
      starts_(latents + 1, "sae.sort_starts"),
      cursors_(latents * threads, "sae.sort_cursors") {}

void GradientSort::run(const PairRows& rows, int64_t main_rows, int64_t aux_begin, int64_t aux_rows,
                       int thread, int threads) {
  int64_t* mine = cursors_.data() + thread * latents_;
  std::fill_n(mine, latents_, 0);
  for_my_rows(main_rows, aux_begin, aux_rows, thread, threads, [&](int64_t row) {
    const int32_t* latents = rows.latents.data() + rows.offset(row);
    for (int64_t i = 0; i < rows.counts[row]; ++i) ++mine[latents[i]];
  });
#pragma omp barrier
#pragma omp single
  {
    int64_t sum = 0;
    for (int64_t latent = 0; latent < latents_; ++latent) {
      starts_[latent] = sum;
      for (int other = 0; other < threads; ++other) {
        int64_t& cursor = cursors_[other * latents_ + latent];
        const int64_t count = cursor;
        cursor = sum;
        sum += count;
      }
    }
    starts_[latents_] = sum;
  }  // implied barrier
  for_my_rows(main_rows, aux_begin, aux_rows, thread, threads, [&](int64_t row) {
    const int64_t offset = rows.offset(row);
    for (int64_t i = offset; i < offset + rows.counts[row]; ++i) {
      pairs_[mine[rows.latents[i]]++] = {static_cast<int32_t>(row), rows.zc[i], rows.g[i]};
    }
  });
#pragma omp barrier
}

}  // namespace branchsae::cpu
