#pragma once
// concat_channels: joins up to 8 inputs along channels (more by further launches, in order); inputs already
// written in place are left alone.
//   dst[pixel] = part 0's channels, part 1's, ...; padding channels are 0
// Work     reads and writes what is not in place once: bound by memory. 256 images of 14 x 14 x 512 in 16-bit:
//          103 MB, 25 us at 4.2 TB/s. Not measured on a GPU.
// Launch   a thread for each group of dst, 256 a block
// Limits   parts have dst's pixels; a part in place begins at a whole group and ends at one (or ends dst)
// Order    every output on its own
#include "cuda/kernels/nhwc.cuh"

namespace branchsae::cuda {

constexpr int kConcatParts = 8;

/// Channels [begin, end) of dst; data null: already there.
template <class T>
struct ConcatPart {
  const T* data;
  int64_t pixel_stride;
  int32_t begin, end;
};
template <class T>
struct ConcatParts {
  ConcatPart<T> part[kConcatParts];
  int32_t count;
};

template <class T>
__global__ void concat_channels_kernel(ConcatParts<T> parts, Nhwc<T> dst) {
  const GroupPlace place = group_place(dst);
  if (!place.exists) return;
  const int32_t first = place.group * kGroup<T>, last = first + kGroup<T>;
  const int32_t begin = parts.part[0].begin, end = parts.part[parts.count - 1].end;
  if (last <= begin || first >= end) return;  // of another launch
  float v[kGroup<T>] = {};
  if (first < begin)
    load_group(group_address(dst, place.pixel, place.group), v);  // the launch before wrote some
  bool untouched = false;
  for (int p = 0; p < parts.count; ++p) {
    const ConcatPart<T>& part = parts.part[p];
    if (part.end <= first || part.begin >= last) continue;
    untouched = part.data == nullptr;
    if (untouched) continue;
    const T* from = part.data + place.pixel * part.pixel_stride + (first - part.begin);
    if (part.begin <= first && part.end >= last && (first - part.begin) % kGroup<T> == 0) {
      load_group(from, v);
      continue;
    }
#pragma unroll
    for (int i = 0; i < kGroup<T>; ++i) {
      if (first + i >= part.begin && first + i < part.end) v[i] = to_float(from[i]);
    }
  }
  if (!untouched) store_group(group_address(dst, place.pixel, place.group), v);
}

}  // namespace branchsae::cuda
