#pragma once
// From activations known at run time to kernels' template arguments.
#include <type_traits>

#include "cuda/kernels/nhwc.cuh"
#include "cuda/network/layout.h"

namespace branchsae::cuda {

constexpr int kNhwcBlock = 256;

template <class T>
Nhwc<T> nhwc(const Activation& a) {
  return {static_cast<T*>(a.data),          a.pixel_stride,
          static_cast<int32_t>(a.layout.n), static_cast<int32_t>(a.layout.h),
          static_cast<int32_t>(a.layout.w), static_cast<int32_t>(a.layout.c)};
}

// body(tag) with tag's ::type the element's.
template <class Body>
void with_element(Element element, const Body& body) {
  switch (element) {
    case Element::kF32:
      return body(std::type_identity<float>());
    case Element::kF16:
      return body(std::type_identity<Half>());
    case Element::kBf16:
      return body(std::type_identity<Bf16>());
  }
}

// Blocks for a thread each group of channels.
inline int64_t group_blocks(const Layout& layout) {
  const int64_t groups = layout.pixels() * (layout.padded_channels() / layout.group());
  return (groups + kNhwcBlock - 1) / kNhwcBlock;
}

}  // namespace branchsae::cuda
