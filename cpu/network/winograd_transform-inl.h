// The input and output transforms. Included once for each instruction set.
#if defined(BRANCHSAE_CPU_NETWORK_WINOGRAD_TRANSFORM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BRANCHSAE_CPU_NETWORK_WINOGRAD_TRANSFORM_INL_H_
#undef BRANCHSAE_CPU_NETWORK_WINOGRAD_TRANSFORM_INL_H_
#else
#define BRANCHSAE_CPU_NETWORK_WINOGRAD_TRANSFORM_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstring>

#include "cpu/network/winograd_task.h"

#ifndef BRANCHSAE_UNROLL
#define BRANCHSAE_UNROLL _Pragma("GCC unroll 16")
#endif

HWY_BEFORE_NAMESPACE();
namespace branchsae::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// The polynomial with roots pair[i]^2 in y = x^2 over all pairs but `without` (-1: over all), lowest power
// first; its highest coefficient is 1.
struct EvenPolynomial {
  int degree = 0;
  double c[4] = {1, 0, 0, 0};
};
constexpr EvenPolynomial polynomial(WinogradPoints points, int without) {
  EvenPolynomial p;
  for (int i = 0; i < points.pairs; ++i) {
    if (i == without) continue;
    const double root = points.pair[i] * points.pair[i];
    ++p.degree;
    for (int k = p.degree; k > 0; --k) p.c[k] = p.c[k - 1] - root * p.c[k];
    p.c[0] *= -root;
  }
  return p;
}

// Sum of c[k] d[first + 2 k].
template <class D, class V = hn::Vec<D>>
HWY_INLINE V weighted(D tag, const EvenPolynomial& p, const V* d, int first) {
  V sum = d[first + 2 * p.degree];
  BRANCHSAE_UNROLL
  for (int k = 0; k < p.degree; ++k) {
    sum = hn::MulAdd(hn::Set(tag, static_cast<float>(p.c[k])), d[first + 2 * k], sum);
  }
  return sum;
}

// B^T d. With Z(x) = x or 1, the row of +-p is (x +- p) Z(x) Q(x^2), that of 0 Q(x^2), that of infinity
// Z(x) Q(x^2), where Q vanishes at the other pairs.
template <int kPoints, class D, class V = hn::Vec<D>>
HWY_INLINE void transform_input(D tag, const V* d, V* out) {
  constexpr WinogradPoints kSet = winograd_points(kPoints);
  constexpr int kZero = kSet.zero ? 1 : 0;
  if constexpr (kSet.zero) out[0] = weighted(tag, polynomial(kSet, -1), d, 0);
  BRANCHSAE_UNROLL
  for (int i = 0; i < kSet.pairs; ++i) {
    const V even = weighted(tag, polynomial(kSet, i), d, kZero + 1);
    const V odd = weighted(tag, polynomial(kSet, i), d, kZero);
    const V p = hn::Set(tag, static_cast<float>(kSet.pair[i]));
    out[kZero + 2 * i] = hn::MulAdd(p, odd, even);
    out[kZero + 2 * i + 1] = hn::NegMulAdd(p, odd, even);
  }
  out[kPoints - 1] = weighted(tag, polynomial(kSet, -1), d, kZero);
}

// A^T m: output j sums p^j over the finite points; the last one also gets infinity's.
template <int kPoints, int kOutputs, class D, class V = hn::Vec<D>>
HWY_INLINE void transform_output(D tag, const V* m, V* out) {
  constexpr WinogradPoints kSet = winograd_points(kPoints);
  constexpr int kZero = kSet.zero ? 1 : 0;
  V sums[kSet.pairs], differences[kSet.pairs];
  BRANCHSAE_UNROLL
  for (int i = 0; i < kSet.pairs; ++i) {
    sums[i] = hn::Add(m[kZero + 2 * i], m[kZero + 2 * i + 1]);
    differences[i] = hn::Sub(m[kZero + 2 * i], m[kZero + 2 * i + 1]);
  }
  BRANCHSAE_UNROLL
  for (int j = 0; j < kOutputs; ++j) {
    const V* halves = j % 2 == 0 ? sums : differences;
    V sum = j == 0 && kSet.zero ? hn::Add(m[0], halves[0]) : halves[0];
    double power[3] = {1, 1, 1};
    for (int i = 0; i < kSet.pairs; ++i) {
      for (int k = 0; k < j; ++k) power[i] *= kSet.pair[i];
    }
    if (j > 0) {
      const V first = hn::Set(tag, static_cast<float>(power[0]));
      sum = j == kOutputs - 1 ? hn::MulAdd(first, halves[0], m[kPoints - 1]) : hn::Mul(first, halves[0]);
    }
    BRANCHSAE_UNROLL
    for (int i = 1; i < kSet.pairs; ++i) {
      sum = j == 0 ? hn::Add(sum, halves[i])
                   : hn::MulAdd(hn::Set(tag, static_cast<float>(power[i])), halves[i], sum);
    }
    out[j] = sum;
  }
}

// A tile's place.
struct TilePlace {
  int64_t image, y, x;  // the first output
};
HWY_INLINE TilePlace tile_place(const WinogradTask& task, int64_t tile) {
  const int64_t per_image = task.tile_rows * task.tile_columns, index = tile % per_image;
  return {tile / per_image, index / task.tile_columns * task.form.outputs,
          index % task.tile_columns * task.form.outputs};
}

// The patch that a tile reads, of one channel block; where it leaves the image, from a copy with zeros.
struct Patch {
  const float* first;
  int64_t row_stride;  // floats
};
template <int kPoints, int kBlock>
HWY_INLINE Patch patch_at(const Layout& in, const float* plane, int64_t y, int64_t x, float* copy) {
  if (y >= 0 && x >= 0 && y + kPoints <= in.h && x + kPoints <= in.w) {
    return {plane + (y * in.w + x) * kBlock, in.w * kBlock};
  }
  constexpr int64_t kRow = int64_t{kPoints} * kBlock;
  std::memset(copy, 0, kPoints * kRow * sizeof(float));
  const int64_t left = std::max<int64_t>(0, -x), right = std::min<int64_t>(kPoints, in.w - x);
  const int64_t top = std::max<int64_t>(0, -y), bottom = std::min<int64_t>(kPoints, in.h - y);
  if (right > left) {
    for (int64_t row = top; row < bottom; ++row) {
      std::memcpy(copy + row * kRow + left * kBlock, plane + ((y + row) * in.w + x + left) * kBlock,
                  static_cast<size_t>((right - left) * kBlock) * sizeof(float));
    }
  }
  return {copy, kRow};
}

// B^T d B of one patch and one vector of its channels.
template <int kPoints, int kBlock, class D>
HWY_INLINE void transform_patch(D tag, const Patch& patch, float* out, int64_t point_stride) {
  using V = hn::Vec<D>;
  constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));
  HWY_ALIGN float columns[kPoints * kPoints * kLanes];
  for (int x = 0; x < kPoints; ++x) {
    V d[kPoints], t[kPoints];
    BRANCHSAE_UNROLL
    for (int y = 0; y < kPoints; ++y) d[y] = hn::LoadU(tag, patch.first + y * patch.row_stride + x * kBlock);
    transform_input<kPoints>(tag, d, t);
    BRANCHSAE_UNROLL
    for (int y = 0; y < kPoints; ++y) hn::Store(t[y], tag, columns + (y * kPoints + x) * kLanes);
  }
  for (int y = 0; y < kPoints; ++y) {
    V d[kPoints], t[kPoints];
    BRANCHSAE_UNROLL
    for (int x = 0; x < kPoints; ++x) d[x] = hn::Load(tag, columns + (y * kPoints + x) * kLanes);
    transform_input<kPoints>(tag, d, t);
    BRANCHSAE_UNROLL
    for (int x = 0; x < kPoints; ++x) hn::StoreU(t[x], tag, out + (y * kPoints + x) * point_stride);
  }
}

template <int kPoints, int kBlock>
void transform_inputs(const WinogradTask& task) {
  const hn::CappedTag<float, kBlock> tag;
  const Layout& in = task.src.layout;
  const int64_t channels = in.padded_channels(), stride = winograd_point_stride(task.tiles, channels);
  HWY_ALIGN float copy[kPoints * kPoints * kBlock];
  for (int64_t block = 0; block < in.blocks(); ++block) {
    for (int64_t tile = 0; tile < task.tiles; ++tile) {
      const TilePlace at = tile_place(task, task.first_tile + tile);
      const Patch patch = patch_at<kPoints, kBlock>(in, task.src.plane(at.image, block), at.y - task.pad_y,
                                                    at.x - task.pad_x, copy);
      float* out = task.scratch + tile * channels + block * kBlock;
      for (int64_t lane = 0; lane < kBlock; lane += static_cast<int64_t>(hn::Lanes(tag))) {
        transform_patch<kPoints, kBlock>(tag, {patch.first + lane, patch.row_stride}, out + lane, stride);
      }
    }
  }
}

// A^T m A with bias and ReLU of one tile and one vector of channels; `rows` x `columns` of it lie in dst.
template <int kPoints, int kOutputs, class D>
HWY_INLINE void transform_products(D tag, const float* products, int64_t point_stride, hn::Vec<D> bias,
                                   bool relu, float* dst, int64_t row_stride, int64_t pixel_stride,
                                   int64_t rows, int64_t columns) {
  using V = hn::Vec<D>;
  constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));
  HWY_ALIGN float half[kOutputs * kPoints * kLanes];
  for (int x = 0; x < kPoints; ++x) {
    V m[kPoints], t[kOutputs];
    BRANCHSAE_UNROLL
    for (int y = 0; y < kPoints; ++y) m[y] = hn::LoadU(tag, products + (y * kPoints + x) * point_stride);
    transform_output<kPoints, kOutputs>(tag, m, t);
    BRANCHSAE_UNROLL
    for (int y = 0; y < kOutputs; ++y) hn::Store(t[y], tag, half + (y * kPoints + x) * kLanes);
  }
  for (int64_t y = 0; y < rows; ++y) {
    V m[kPoints], t[kOutputs];
    BRANCHSAE_UNROLL
    for (int x = 0; x < kPoints; ++x) m[x] = hn::Load(tag, half + (y * kPoints + x) * kLanes);
    transform_output<kPoints, kOutputs>(tag, m, t);
    BRANCHSAE_UNROLL
    for (int x = 0; x < kOutputs; ++x) t[x] = hn::Add(t[x], bias);
    if (relu) {
      BRANCHSAE_UNROLL
      for (int x = 0; x < kOutputs; ++x) t[x] = hn::Max(t[x], hn::Zero(tag));
    }
    BRANCHSAE_UNROLL
    for (int x = 0; x < kOutputs; ++x) {
      if (x < columns) hn::StoreU(t[x], tag, dst + y * row_stride + x * pixel_stride);
    }
  }
}

// Of one panel, from M to dst.
template <int kPoints, int kOutputs, int kBlock>
void transform_panel(const WinogradTask& task, int64_t first_block, int64_t blocks, const float* products) {
  const hn::CappedTag<float, kBlock> tag;
  const Layout& out = task.dst.layout;
  const int64_t width = blocks * kBlock, stride = winograd_point_stride(task.tiles, width);
  for (int64_t block = 0; block < blocks; ++block) {
    for (int64_t tile = 0; tile < task.tiles; ++tile) {
      const TilePlace at = tile_place(task, task.first_tile + tile);
      const int64_t rows = std::min<int64_t>(kOutputs, out.h - at.y);
      const int64_t columns = std::min<int64_t>(kOutputs, out.w - at.x);
      float* dst = task.dst.plane(at.image, first_block + block) + (at.y * out.w + at.x) * kBlock;
      for (int64_t lane = 0; lane < kBlock; lane += static_cast<int64_t>(hn::Lanes(tag))) {
        const auto bias = hn::LoadU(tag, task.bias + (first_block + block) * kBlock + lane);
        transform_products<kPoints, kOutputs>(tag, products + tile * width + block * kBlock + lane, stride,
                                              bias, task.relu, dst + lane, out.w * kBlock, kBlock, rows,
                                              columns);
      }
    }
  }
}

}  // namespace branchsae::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
