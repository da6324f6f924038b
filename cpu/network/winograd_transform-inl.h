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

// sum + c a
template <class D, class V = hn::Vec<D>>
HWY_INLINE V add_scaled(D tag, V sum, double c, V a) {
  return hn::MulAdd(hn::Set(tag, static_cast<float>(c)), a, sum);
}

// B^T d. The row of +-p is (x +- p) x (x^2 - q^2) with the other pair's q, that of 0 is
// (x^2 - p^2) (x^2 - q^2), that of infinity x times this.
template <class D, class V = hn::Vec<D>>
HWY_INLINE void transform_input(D tag, const V* d, V* out) {
  constexpr double kFirst = kWinogradPairs[0] * kWinogradPairs[0];
  constexpr double kSecond = kWinogradPairs[1] * kWinogradPairs[1];
  const auto both = [&](int first) HWY_ATTR {
    return add_scaled(tag, add_scaled(tag, d[first + 4], kFirst * kSecond, d[first]), -(kFirst + kSecond),
                      d[first + 2]);
  };
  out[0] = both(0);
  BRANCHSAE_UNROLL
  for (int i = 0; i < 2; ++i) {
    const double other = i == 0 ? kSecond : kFirst;
    const V even = add_scaled(tag, d[4], -other, d[2]), odd = add_scaled(tag, d[3], -other, d[1]);
    out[1 + 2 * i] = add_scaled(tag, even, kWinogradPairs[i], odd);
    out[2 + 2 * i] = add_scaled(tag, even, -kWinogradPairs[i], odd);
  }
  out[5] = both(1);
}

// A^T m: output j sums p^j over the finite points; the last one also gets infinity's.
template <int kOutputs, class D, class V = hn::Vec<D>>
HWY_INLINE void transform_output(D tag, const V* m, V* out) {
  const V sums[2] = {hn::Add(m[1], m[2]), hn::Add(m[3], m[4])};
  const V differences[2] = {hn::Sub(m[1], m[2]), hn::Sub(m[3], m[4])};
  out[0] = hn::Add(hn::Add(m[0], sums[0]), sums[1]);
  double first = 1, second = 1;
  BRANCHSAE_UNROLL
  for (int j = 1; j < kOutputs; ++j) {
    const V* halves = j % 2 == 0 ? sums : differences;
    first *= kWinogradPairs[0];
    second *= kWinogradPairs[1];
    out[j] = hn::Mul(hn::Set(tag, static_cast<float>(first)), halves[0]);
    if (j == kOutputs - 1) out[j] = add_scaled(tag, m[5], first, halves[0]);
    out[j] = add_scaled(tag, out[j], second, halves[1]);
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
template <int kBlock>
HWY_INLINE Patch patch_at(const Layout& in, const float* plane, int64_t y, int64_t x, float* copy) {
  if (y >= 0 && x >= 0 && y + kWinogradPoints <= in.h && x + kWinogradPoints <= in.w) {
    return {plane + (y * in.w + x) * kBlock, in.w * kBlock};
  }
  constexpr int64_t kRow = int64_t{kWinogradPoints} * kBlock;
  std::memset(copy, 0, kWinogradPoints * kRow * sizeof(float));
  const int64_t left = std::max<int64_t>(0, -x), right = std::min<int64_t>(kWinogradPoints, in.w - x);
  const int64_t top = std::max<int64_t>(0, -y), bottom = std::min<int64_t>(kWinogradPoints, in.h - y);
  if (right > left) {
    for (int64_t row = top; row < bottom; ++row) {
      std::memcpy(copy + row * kRow + left * kBlock, plane + ((y + row) * in.w + x + left) * kBlock,
                  static_cast<size_t>((right - left) * kBlock) * sizeof(float));
    }
  }
  return {copy, kRow};
}

// B^T d B of one patch and one vector of its channels.
template <int kBlock, class D>
HWY_INLINE void transform_patch(D tag, const Patch& patch, float* out, int64_t point_stride) {
  using V = hn::Vec<D>;
  constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));
  HWY_ALIGN float columns[kWinogradPoints * kWinogradPoints * kLanes];
  for (int x = 0; x < kWinogradPoints; ++x) {
    V d[kWinogradPoints], t[kWinogradPoints];
    BRANCHSAE_UNROLL
    for (int y = 0; y < kWinogradPoints; ++y)
      d[y] = hn::LoadU(tag, patch.first + y * patch.row_stride + x * kBlock);
    transform_input(tag, d, t);
    BRANCHSAE_UNROLL
    for (int y = 0; y < kWinogradPoints; ++y)
      hn::Store(t[y], tag, columns + (y * kWinogradPoints + x) * kLanes);
  }
  for (int y = 0; y < kWinogradPoints; ++y) {
    V d[kWinogradPoints], t[kWinogradPoints];
    BRANCHSAE_UNROLL
    for (int x = 0; x < kWinogradPoints; ++x)
      d[x] = hn::Load(tag, columns + (y * kWinogradPoints + x) * kLanes);
    transform_input(tag, d, t);
    BRANCHSAE_UNROLL
    for (int x = 0; x < kWinogradPoints; ++x)
      hn::StoreU(t[x], tag, out + (y * kWinogradPoints + x) * point_stride);
  }
}

template <int kBlock>
void transform_inputs(const WinogradTask& task) {
  const hn::CappedTag<float, kBlock> tag;
  const Layout& in = task.src.layout;
  const int64_t channels = in.padded_channels(), stride = winograd_point_stride(task.tiles, channels);
  HWY_ALIGN float copy[kWinogradPoints * kWinogradPoints * kBlock];
  for (int64_t block = 0; block < in.blocks(); ++block) {
    for (int64_t tile = 0; tile < task.tiles; ++tile) {
      const TilePlace at = tile_place(task, task.first_tile + tile);
      const Patch patch =
          patch_at<kBlock>(in, task.src.plane(at.image, block), at.y - task.pad_y, at.x - task.pad_x, copy);
      float* out = task.scratch + tile * channels + block * kBlock;
      for (int64_t lane = 0; lane < kBlock; lane += static_cast<int64_t>(hn::Lanes(tag))) {
        transform_patch<kBlock>(tag, {patch.first + lane, patch.row_stride}, out + lane, stride);
      }
    }
  }
}

// A^T m A with bias and ReLU of one tile and one vector of channels; `rows` x `columns` of it lie in dst.
template <int kOutputs, class D>
HWY_INLINE void transform_products(D tag, const float* products, int64_t point_stride, hn::Vec<D> bias,
                                   bool relu, float* dst, int64_t row_stride, int64_t pixel_stride,
                                   int64_t rows, int64_t columns) {
  using V = hn::Vec<D>;
  constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));
  HWY_ALIGN float half[kOutputs * kWinogradPoints * kLanes];
  for (int x = 0; x < kWinogradPoints; ++x) {
    V m[kWinogradPoints], t[kOutputs];
    BRANCHSAE_UNROLL
    for (int y = 0; y < kWinogradPoints; ++y)
      m[y] = hn::LoadU(tag, products + (y * kWinogradPoints + x) * point_stride);
    transform_output<kOutputs>(tag, m, t);
    BRANCHSAE_UNROLL
    for (int y = 0; y < kOutputs; ++y) hn::Store(t[y], tag, half + (y * kWinogradPoints + x) * kLanes);
  }
  for (int64_t y = 0; y < rows; ++y) {
    V m[kWinogradPoints], t[kOutputs];
    BRANCHSAE_UNROLL
    for (int x = 0; x < kWinogradPoints; ++x) m[x] = hn::Load(tag, half + (y * kWinogradPoints + x) * kLanes);
    transform_output<kOutputs>(tag, m, t);
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
template <int kOutputs, int kBlock>
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
        transform_products<kOutputs>(tag, products + tile * width + block * kBlock + lane, stride, bias,
                                     task.relu, dst + lane, out.w * kBlock, kBlock, rows, columns);
      }
    }
  }
}

}  // namespace branchsae::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
