#pragma once
// linear: dst = weight * flatten(src) + bias, then ReLU when asked for; float sums and float rows out,
// whatever src and weight are, so that logits keep their digits.
// Work     2 images x outputs x inputs FLOP without tensor cores: 256 x 1000 x 1024: 0.5 GFLOP, 64 blocks, some
//          20 us where the whole network takes milliseconds. Not measured on a GPU.
// Launch   grid ceil(images / 64) * ceil(outputs / 64), block 256, shared memory 2 x 64 x 16 floats
// Limits   weight [outputs, pixels * padded channels] in src's own order, zero for padding channels
// Order    fixed: inputs in order, one fma each; a row's bits do not depend on the other rows
#include "cuda/arch/smem.cuh"
#include "cuda/kernels/nhwc.cuh"

namespace branchsae::cuda {

constexpr int kLinearTile = 64, kLinearDepth = 16, kLinearPitch = kLinearTile + 4;

struct LinearShape {
  int32_t inputs;  ///< pixels * padded channels
  int32_t outputs, relu;
  const float* bias;
};

/// Elements `first`.. of a row of `inputs` numbers whose pixels lie pixel_stride apart.
template <class T>
BRANCHSAE_DEVICE void load_part(const T* row, int32_t padded, int64_t pixel_stride, int32_t first,
                                float (&v)[kGroup<T>]) {
  const int32_t pixel = first / padded;
  load_group(row + pixel * pixel_stride + (first - pixel * padded), v);
}

/// 64 rows x 16 inputs into shared memory, [input][row]; zeros beyond the rows and the inputs.
template <class T>
BRANCHSAE_DEVICE void load_tile(Smem<float> tile, const T* data, int64_t row_stride, int32_t padded,
                                int64_t pixel_stride, int32_t first_row, int32_t rows, int32_t first_input,
                                int32_t inputs) {
  constexpr int kParts = kLinearDepth / kGroup<T>;
  for (int at = static_cast<int>(threadIdx.x); at < kLinearTile * kParts;
       at += static_cast<int>(blockDim.x)) {
    const int row = at / kParts, part = at % kParts * kGroup<T>;
    float v[kGroup<T>] = {};
    if (first_row + row < rows && first_input + part < inputs) {
      load_part(data + (first_row + row) * row_stride, padded, pixel_stride, first_input + part, v);
    }
#pragma unroll
    for (int i = 0; i < kGroup<T>; ++i) tile.store((part + i) * kLinearPitch + row, v[i]);
  }
}

template <class T>
__global__ void linear_kernel(Nhwc<const T> src, const T* weight, LinearShape shape, Nhwc<float> dst) {
  SmemArena arena;
  const Smem<float> images = arena.take<float>(kLinearDepth * kLinearPitch);
  const Smem<float> weights = arena.take<float>(kLinearDepth * kLinearPitch);
  const int32_t column_tiles = (shape.outputs + kLinearTile - 1) / kLinearTile;
  const int32_t first_image = static_cast<int32_t>(blockIdx.x) / column_tiles * kLinearTile;
  const int32_t first_output = static_cast<int32_t>(blockIdx.x) % column_tiles * kLinearTile;
  const int32_t padded = groups_of(src) * kGroup<T>;
  const int64_t image_stride = static_cast<int64_t>(src.height) * src.width * src.pixel_stride;
  const int row = static_cast<int>(threadIdx.x) / 16 * 4, column = static_cast<int>(threadIdx.x) % 16 * 4;
  float sums[4][4] = {};
  for (int32_t first = 0; first < shape.inputs; first += kLinearDepth) {
    load_tile(images, src.data, image_stride, padded, src.pixel_stride, first_image, src.images, first,
              shape.inputs);
    load_tile(weights, weight, shape.inputs, shape.inputs, shape.inputs, first_output, shape.outputs, first,
              shape.inputs);
    sync_block();
#pragma unroll
    for (int k = 0; k < kLinearDepth; ++k) {
      const float4 a = images.load_as<float4>(k * kLinearPitch + row);
      const float4 b = weights.load_as<float4>(k * kLinearPitch + column);
      const float left[4] = {a.x, a.y, a.z, a.w}, right[4] = {b.x, b.y, b.z, b.w};
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) sums[i][j] = fma(left[i], right[j], sums[i][j]);
      }
    }
    sync_block();
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int32_t image = first_image + row + i, output = first_output + column;
    if (image >= src.images || output >= groups_of(dst) * 4) continue;
    float v[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      v[j] = sums[i][j] + (output + j < shape.outputs ? load_read_only(shape.bias + output + j) : 0.0F);
      if (shape.relu != 0 && v[j] < 0.0F) v[j] = 0.0F;
    }
    clear_padding(v, output / 4, dst.channels);
    store_group(dst.data + image * dst.pixel_stride + output, v);
  }
}

}  // namespace branchsae::cuda
