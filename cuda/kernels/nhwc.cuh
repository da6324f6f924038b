#pragma once
// Activations of the network in NHWC, and their groups: 16 bytes of neighbouring channels, which one thread
// loads, computes in float and stores. Channels are padded to whole groups with zeros, which every kernel
// keeps: the convolution that reads them multiplies them by zero weights, and 0 * NaN would spread.
#include "cuda/arch/warp.cuh"

namespace branchsae::cuda {

/// [images, height, width, pixel_stride] of T, the first `channels` of a pixel used. 16-byte aligned.
template <class T>
struct Nhwc {
  T* data;
  int64_t pixel_stride;  ///< elements; the pixels of all images follow each other
  int32_t images, height, width, channels;
};

template <class T>
constexpr int kGroup = 16 / static_cast<int>(sizeof(T));

template <class T>
BRANCHSAE_DEVICE int groups_of(const Nhwc<T>& image) {
  return (image.channels + kGroup<T> - 1) / kGroup<T>;
}

BRANCHSAE_DEVICE void load_group(const float* from, float (&v)[4]) {
  const float4 word = *reinterpret_cast<const float4*>(from);
  v[0] = word.x, v[1] = word.y, v[2] = word.z, v[3] = word.w;
}
BRANCHSAE_DEVICE void load_group(const Bf16* from, float (&v)[8]) {
  const uint4 word = *reinterpret_cast<const uint4*>(from);
  v[0] = low_bf16(word.x), v[1] = high_bf16(word.x), v[2] = low_bf16(word.y), v[3] = high_bf16(word.y);
  v[4] = low_bf16(word.z), v[5] = high_bf16(word.z), v[6] = low_bf16(word.w), v[7] = high_bf16(word.w);
}
BRANCHSAE_DEVICE void load_group(const Half* from, float (&v)[8]) {
  const uint4 word = *reinterpret_cast<const uint4*>(from);
  v[0] = low_half(word.x), v[1] = high_half(word.x), v[2] = low_half(word.y), v[3] = high_half(word.y);
  v[4] = low_half(word.z), v[5] = high_half(word.z), v[6] = low_half(word.w), v[7] = high_half(word.w);
}
BRANCHSAE_DEVICE void store_group(float* to, const float (&v)[4]) {
  *reinterpret_cast<float4*>(to) = make_float4(v[0], v[1], v[2], v[3]);
}
BRANCHSAE_DEVICE void store_group(Bf16* to, const float (&v)[8]) {
  *reinterpret_cast<uint4*>(to) =
      make_uint4(pack_bf16(v[0], v[1]), pack_bf16(v[2], v[3]), pack_bf16(v[4], v[5]), pack_bf16(v[6], v[7]));
}
BRANCHSAE_DEVICE void store_group(Half* to, const float (&v)[8]) {
  *reinterpret_cast<uint4*>(to) =
      make_uint4(pack_half(v[0], v[1]), pack_half(v[2], v[3]), pack_half(v[4], v[5]), pack_half(v[6], v[7]));
}

/// One number as stored.
BRANCHSAE_DEVICE void store_one(float* to, float value) {
  *to = value;
}
BRANCHSAE_DEVICE void store_one(Bf16* to, float value) {
  *to = to_bf16(value);
}
BRANCHSAE_DEVICE void store_one(Half* to, float value) {
  *to = Half{static_cast<uint16_t>(pack_half(value, 0.0F) & 0xffffU)};
}

/// Zero in the channels of group `group` that are padding.
template <int kCount>
BRANCHSAE_DEVICE void clear_padding(float (&v)[kCount], int group, int channels) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    if (group * kCount + i >= channels) v[i] = 0.0F;
  }
}

/// What one thread does: a group of channels of one pixel. Launches have a thread for each.
struct GroupPlace {
  int64_t pixel;  ///< counted over all images
  int group;
  bool exists;
};
template <class T>
BRANCHSAE_DEVICE GroupPlace group_place(const Nhwc<T>& image) {
  const uint32_t at = blockIdx.x * blockDim.x + threadIdx.x;
  const uint32_t groups = static_cast<uint32_t>(groups_of(image));
  const uint32_t pixels = static_cast<uint32_t>(image.images) * image.height * image.width;
  const uint32_t pixel = at / groups;
  return {static_cast<int64_t>(pixel), static_cast<int>(at - pixel * groups), pixel < pixels};
}

template <class T>
BRANCHSAE_DEVICE T* group_address(const Nhwc<T>& image, int64_t pixel, int group) {
  return image.data + pixel * image.pixel_stride + group * kGroup<T>;
}

}  // namespace branchsae::cuda
