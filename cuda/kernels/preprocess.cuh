#pragma once
// preprocess: 8-bit RGB pixels -> the network's input, NHWC, one group of channels a pixel.
//   dst[pixel][c] = table[c][src[pixel][order[c]]], c < 3; the padding channels and the pixels of images
//   beyond `count` are 0
// The table holds engine/pixel_table.h's values: every level is rounded once, as on the CPU.
// Work     3 bytes read and 16 written a pixel; 256 images of 224 x 224 in 16-bit: 244 MB, 58 us at the 4.2
//          TB/s of an H200's memory. Not measured on a GPU.
// Launch   a thread for each 4 pixels (12 bytes: three aligned words), 256 a block
// Limits   src 4-byte aligned, else it is read byte by byte
// Order    every output on its own
#include "cuda/kernels/nhwc.cuh"

namespace branchsae::cuda {

struct PixelOrder {
  int32_t channel[3];  ///< which of R, G, B input channel c is
};

/// Byte `i` of three words.
BRANCHSAE_DEVICE uint32_t byte_of(const uint32_t (&words)[3], int i) {
  return words[i / 4] >> (8 * (i % 4)) & 0xffU;
}

template <class T>
BRANCHSAE_DEVICE void write_pixel(const Nhwc<T>& dst, int64_t pixel, const float* table, PixelOrder order,
                                  uint32_t red, uint32_t green, uint32_t blue, bool exists) {
  float v[kGroup<T>] = {};
#pragma unroll
  for (int c = 0; c < 3; ++c) {
    const int from = order.channel[c];
    const uint32_t level = from == 0 ? red : from == 1 ? green : blue;
    if (exists) v[c] = load_read_only(table + c * 256 + level);
  }
  store_group(dst.data + pixel * dst.pixel_stride, v);
}

template <class T>
__global__ void preprocess_kernel(const uint8_t* src, int32_t count, const float* table, PixelOrder order,
                                  Nhwc<T> dst) {
  const int64_t image_pixels = static_cast<int64_t>(dst.height) * dst.width;
  const int64_t pixels = dst.images * image_pixels, filled = count * image_pixels;
  const int64_t first = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * 4;
  if (first >= pixels) return;
  uint32_t words[3] = {0, 0, 0};
  const bool aligned = (reinterpret_cast<uintptr_t>(src) & 3U) == 0;
  if (aligned && first + 4 <= filled) {
    const uint32_t* from = reinterpret_cast<const uint32_t*>(src + first * 3);
#pragma unroll
    for (int i = 0; i < 3; ++i) words[i] = load_read_only(from + i);
  } else {
#pragma unroll
    for (int i = 0; i < 12; ++i) {
      if (first * 3 + i < filled * 3)
        words[i / 4] |= static_cast<uint32_t>(src[first * 3 + i]) << (8 * (i % 4));
    }
  }
#pragma unroll
  for (int p = 0; p < 4; ++p) {
    const int64_t pixel = first + p;
    if (pixel >= pixels) continue;
    write_pixel(dst, pixel, table, order, byte_of(words, 3 * p), byte_of(words, 3 * p + 1),
                byte_of(words, 3 * p + 2), pixel < filled);
  }
}

}  // namespace branchsae::cuda
