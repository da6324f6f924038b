#include "cpu/network/pool_kernels.h"

#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/network/pool_kernels.cpp"
#include <hwy/foreach_target.h>
// After foreach_target: these depend on the target.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace branchsae::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

struct Max {
  static constexpr float kIdentity = -std::numeric_limits<float>::infinity();
  template <class V>
  static V apply(V a, V b) {
    return hn::Max(a, b);
  }
};

struct Sum {
  static constexpr float kIdentity = 0.0F;
  template <class V>
  static V apply(V a, V b) {
    return hn::Add(a, b);
  }
};

/// Most floats of a vector that divide a block.
template <int kBlock>
using BlockTag = hn::CappedTag<float, kBlock>;

/// scratch[i] = over the window's rows of src[i].
template <class Reduce, class D>
void reduce_rows(D d, const PoolRow& row) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), count = row.width * row.block;
  const int64_t step = row.row_step * count;
  const float* first = row.plane + row.rows.begin * count;
  if (row.rows.count == 3) {  // the usual window, unrolled
    for (int64_t i = 0; i < count; i += lanes) {
      const auto two = Reduce::apply(hn::LoadU(d, first + i), hn::LoadU(d, first + step + i));
      hn::StoreU(Reduce::apply(two, hn::LoadU(d, first + 2 * step + i)), d, row.scratch + i);
    }
    return;
  }
  for (int64_t i = 0; i < count; i += lanes) {
    auto value = hn::Set(d, Reduce::kIdentity);
    for (int64_t r = 0; r < row.rows.count; ++r)
      value = Reduce::apply(value, hn::LoadU(d, first + r * step + i));
    hn::StoreU(value, d, row.scratch + i);
  }
}

/// dst[x] = over the window's columns of scratch, divided for averages.
template <class Reduce, bool kDivide, class D>
void reduce_columns(D d, const PoolRow& row) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), step = row.column_step * row.block;
  for (int64_t x = 0; x < row.out_width; ++x) {
    const WindowSpan span = row.columns[x];
    for (int64_t lane = 0; lane < row.block; lane += lanes) {
      const float* from = row.scratch + span.begin * row.block + lane;
      auto value = hn::Set(d, Reduce::kIdentity);
      for (int64_t k = 0; k < span.count; ++k) value = Reduce::apply(value, hn::LoadU(d, from + k * step));
      if constexpr (kDivide) value = hn::Div(value, hn::Set(d, row.row_count * row.column_counts[x]));
      hn::StoreU(value, d, row.dst + x * row.block + lane);
    }
  }
}

template <class Reduce, bool kDivide, int kBlock>
void reduce_block(const PoolRow& row) {
  const BlockTag<kBlock> d;
  reduce_rows<Reduce>(d, row);
  reduce_columns<Reduce, kDivide>(d, row);
}

template <class Reduce, bool kDivide>
void reduce(const PoolRow& row) {
  if (row.block == 16) return reduce_block<Reduce, kDivide, 16>(row);
  if (row.block == 8) return reduce_block<Reduce, kDivide, 8>(row);
  reduce_block<Reduce, kDivide, 1>(row);
}

void MaxPoolRow(const PoolRow& row) {
  reduce<Max, false>(row);
}
void AveragePoolRow(const PoolRow& row) {
  reduce<Sum, true>(row);
}

template <int kBlock>
void mean_of_block(const float* plane, int64_t pixels, float* dst) {
  constexpr int64_t kRun = 64;
  const BlockTag<kBlock> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto divisor = hn::Set(d, static_cast<float>(pixels));
  for (int64_t lane = 0; lane < kBlock; lane += lanes) {
    auto total = hn::Zero(d);
    for (int64_t begin = 0; begin < pixels; begin += kRun) {
      const int64_t end = begin + kRun < pixels ? begin + kRun : pixels;
      auto run = hn::Zero(d);
      for (int64_t p = begin; p < end; ++p) run = hn::Add(run, hn::LoadU(d, plane + p * kBlock + lane));
      total = hn::Add(total, run);
    }
    hn::StoreU(hn::Div(total, divisor), d, dst + lane);
  }
}

void MeanOfPlane(const float* plane, int64_t pixels, int64_t block, float* dst) {
  if (block == 16) return mean_of_block<16>(plane, pixels, dst);
  if (block == 8) return mean_of_block<8>(plane, pixels, dst);
  mean_of_block<1>(plane, pixels, dst);
}

}  // namespace branchsae::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace branchsae::cpu {

HWY_EXPORT(MaxPoolRow);
HWY_EXPORT(AveragePoolRow);
HWY_EXPORT(MeanOfPlane);

void max_pool_row(const PoolRow& row) {
  HWY_DYNAMIC_DISPATCH(MaxPoolRow)(row);
}
void average_pool_row(const PoolRow& row) {
  HWY_DYNAMIC_DISPATCH(AveragePoolRow)(row);
}
void mean_of_plane(const float* plane, int64_t pixels, int64_t block, float* dst) {
  HWY_DYNAMIC_DISPATCH(MeanOfPlane)(plane, pixels, block, dst);
}

}  // namespace branchsae::cpu
#endif
