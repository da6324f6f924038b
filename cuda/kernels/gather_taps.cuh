#pragma once
// gather_taps: channel ranges of activations -> float token rows, every part of every tap in one launch.
//   dst[pixel][column + c] = src[pixel][begin + c]
// Work     2 bytes read and 4 written a number in 16-bit: 256 images of 14 x 14 x 64: 19 MB, 5 us at 4.2 TB/s.
//          Not measured on a GPU.
// Launch   block b does item b: 64 rows of one part; 256 threads
// Order    every output on its own
#include "cuda/kernels/nhwc.cuh"

namespace branchsae::cuda {

constexpr int kTapRows = 64;

/// What an activation consists of, as the kernel sees it.
enum class TapElement : int32_t { kF32, kF16, kBf16 };

/// One part of one tap. data points at its first channel.
struct TapPartRows {
  const void* data;
  int64_t pixel_stride;  ///< elements
  float* dst;            ///< its first column of the first row
  int64_t row_stride;
  int64_t rows;
  int32_t channels;
  TapElement element;
};
struct TapItem {
  int32_t part, first_row;  ///< in units of kTapRows
};

template <class T>
BRANCHSAE_DEVICE void gather_rows_of(const TapPartRows& part, int64_t first_row) {
  constexpr int kCount = 4;  // four numbers a thread: 16 bytes written
  const T* data = static_cast<const T*>(part.data);
  const int quads = (part.channels + kCount - 1) / kCount;
  const bool whole = part.channels % kCount == 0 && part.row_stride % kCount == 0 &&
                     (reinterpret_cast<uintptr_t>(part.dst) & 15U) == 0;
  for (int at = static_cast<int>(threadIdx.x); at < kTapRows * quads; at += static_cast<int>(blockDim.x)) {
    const int64_t row = first_row + at / quads;
    const int first = at % quads * kCount;
    if (row >= part.rows) return;
    const T* from = data + row * part.pixel_stride + first;
    float* to = part.dst + row * part.row_stride + first;
    if (whole) {
      *reinterpret_cast<float4*>(to) =
          make_float4(to_float(from[0]), to_float(from[1]), to_float(from[2]), to_float(from[3]));
      continue;
    }
    for (int i = 0; i < kCount; ++i) {
      if (first + i < part.channels) to[i] = to_float(from[i]);
    }
  }
}

__global__ void gather_taps_kernel(const TapPartRows* parts, const TapItem* items) {
  const TapItem item = items[blockIdx.x];
  const TapPartRows part = parts[item.part];
  const int64_t first_row = static_cast<int64_t>(item.first_row) * kTapRows;
  if (part.element == TapElement::kBf16) {
    gather_rows_of<Bf16>(part, first_row);
  } else if (part.element == TapElement::kF16) {
    gather_rows_of<Half>(part, first_row);
  } else {
    gather_rows_of<float>(part, first_row);
  }
}

}  // namespace branchsae::cuda
