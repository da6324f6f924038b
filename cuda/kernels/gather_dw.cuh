#pragma once
// gather_dw: dW_i = sum over all pairs of z e + g xc (untied: the two sums apart), and sum g; ex from L2.
// Work     8Bkd FLOP; reads 4Bkd bytes of ex (bf16), 16Bk of pairs for each 4 slices, writes 4nd.
//          B=16384 d=768 n=32768 k=32: 1.6 GB, 293 us at 5.5 TB/s of L2. Not measured on a GPU.
// Launch   grid: 8 warps a block, each with kDwPairs pairs and 4 slices (float: 2); no shared memory
// Limits   dw_rows == 0
// Order    deterministic: each list of a latent is cut where multiples of kDwPairs pairs of its section lie,
//          a warp adds a part's pairs in order; adam_project adds the parts in order. However long a list, no
//          warp has more than kDwPairs pairs.
#include "cuda/arch/warp.cuh"
#include "cuda/kernels/pair_rows.cuh"
#include "cuda/kernels/pair_sections.cuh"
#include "cuda/sae/gradient_plan.h"

namespace branchsae::cuda {

constexpr int kGatherDwWarps = 8;
/// Slices of a warp.
template <class T>
constexpr int kWarpSlices = kWarp / kPieceLanes<T>;

/// One latent's part of a cut, in this lane's channels.
template <class T, bool kTied>
class RowSum {
 public:
  BRANCHSAE_DEVICE RowSum(const SaeDesc& sae, int32_t slice, bool with_bias)
      : sae_(sae), slice_(slice), with_bias_(with_bias) {}

  BRANCHSAE_DEVICE void clear() {
    g_ = 0;
#pragma unroll
    for (int i = 0; i < kVector<T>; ++i) sum_[i] = 0;
  }
  BRANCHSAE_DEVICE void add(const Pair& pair, uint4 raw) {
    add_pair<T>(pair, raw, sum_);
    g_ += pair.g;
  }
  /// Row `row` of dw (carry: of the carries).
  BRANCHSAE_DEVICE void store(int64_t row, bool carry) {
    float* target = carry ? sae_.carry : sae_.dw;
    if (!kTied && !in_encoder_half<T>()) target = carry ? sae_.carry_dec : sae_.dw_dec;
    target += (row * sae_.slices + slice_) * kSlice + lane_id() % kHalfLanes<T> * kVector<T>;
    if constexpr (kTied) {
      add_halves<kVector<T>>(sum_, kHalfLanes<T>);
      target += in_encoder_half<T>() ? kVector<T> / 2 : 0;
    }
    constexpr int kLeft = kTied ? kVector<T> / 2 : kVector<T>;
    if (slice_ < sae_.slices) {
#pragma unroll
      for (int i = 0; i < kLeft; i += 2)
        *reinterpret_cast<float2*>(target + i) = make_float2(sum_[i], sum_[i + 1]);
    }
    if (with_bias_ && lane_id() == 0) (carry ? sae_.carry_db : sae_.db_enc)[row] = g_;
  }

 private:
  const SaeDesc& sae_;
  int32_t slice_;
  bool with_bias_;
  float sum_[kVector<T>];
  float g_;
};

/// Pairs [begin, end) of a cut, all of one group; begun: the first latent's list began before.
template <class T, bool kTied>
BRANCHSAE_DEVICE void sum_cut(const SaeDesc& sae, int32_t group, int32_t begin, int32_t end, bool begun,
                              int32_t cut, int32_t first_slice) {
  constexpr int kAhead = 4;
  const int32_t slice = first_slice + lane_id() / kPieceLanes<T>;
  const Pair* pairs = sae.pairs;
  const int64_t stride = static_cast<int64_t>(sae.slices) * 2 * kSlice;
  const T* ex = static_cast<const T*>(sae.ex) + slice * 2 * kSlice + lane_id() % kPieceLanes<T> * kVector<T>;
  RowSum<T, kTied> row(sae, slice, first_slice == 0);
  row.clear();
  int32_t latent = load_pair(pairs + begin).latent;
  const auto store = [&] {
    row.store(begun ? cut : static_cast<int64_t>(group) * sae.n + latent, begun);
    row.clear();
  };
  for (int32_t p = begin; p < end; p += kAhead) {
    Pair pair[kAhead];
    uint4 raw[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; ++i) pair[i] = load_pair(pairs + (p + i < end ? p + i : end - 1));
#pragma unroll
    for (int i = 0; i < kAhead; ++i)
      raw[i] = slice < sae.slices ? load_vector(ex + pair[i].row * stride) : make_uint4(0, 0, 0, 0);
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      if (p + i >= end) break;
      if (pair[i].latent != latent) {
        store();
        begun = false;
        latent = pair[i].latent;
      }
      row.add(pair[i], raw[i]);
    }
  }
  store();
}

template <class T, bool kTied>
__global__ void __launch_bounds__(kGatherDwWarps* kWarp)
    gather_dw_kernel(const SaeDesc* saes, WorkList work) {
  const WorkItem item = work.items[blockIdx.x];
  const SaeDesc& sae = saes[item.sae];
  const int32_t parts = (sae.slices + kWarpSlices<T> - 1) / kWarpSlices<T>;
  const int32_t unit = item.tile * kGatherDwWarps + warp_id(), cut = unit / parts;
  const int32_t main_cuts = (sae.max_batch * sae.k + kDwPairs - 1) / kDwPairs;
  const int32_t group = cut < main_cuts ? 0 : sae.main_groups;
  if (group >= sae.groups) return;
  const GroupRows rows = group_rows(sae, group);
  if (rows.count <= 0) return;
  const int32_t base = group_base(sae, rows);
  const int32_t list_end = sae.pair_begin[static_cast<int64_t>(group) * (sae.n + 1) + sae.n];
  const int32_t begin = base + (group == 0 ? cut : cut - main_cuts) * kDwPairs;
  const int32_t end = begin + kDwPairs < list_end ? begin + kDwPairs : list_end;
  if (begin >= end) return;
  const bool begun = begin > base && sae.pairs[begin - 1].latent == sae.pairs[begin].latent;
  sum_cut<T, kTied>(sae, group, begin, end, begun, cut, unit % parts * kWarpSlices<T>);
}

}  // namespace branchsae::cuda
