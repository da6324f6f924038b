#include "cuda/network/pool.h"

#include "cuda/kernels/global_average.cuh"
#include "cuda/kernels/pool.cuh"
#include "cuda/launch.h"
#include "cuda/network/dispatch.cuh"
#include "engine/passes.h"

namespace branchsae::cuda {
namespace {

PoolWindow pool_window(const Window& window, bool ceil_mode, bool count_padding, const Layout& src) {
  PoolWindow result{};
  for (const int axis : {0, 1}) {
    const auto a = static_cast<size_t>(axis);
    const WindowExtent extent = window_extent(window, axis, axis == 0 ? src.h : src.w, ceil_mode);
    result.kernel[a] = static_cast<int32_t>(window.kernel[a]);
    result.stride[a] = static_cast<int32_t>(window.stride[a]);
    result.dilation[a] = static_cast<int32_t>(window.dilation[a]);
    result.pad_begin[a] = static_cast<int32_t>(extent.pad_begin);
    result.pad_end[a] = static_cast<int32_t>(extent.pad_end);
  }
  result.count_padding = count_padding ? 1 : 0;
  return result;
}

template <bool kMax>
class Pool final : public UnaryLayer {
 public:
  Pool(const PoolWindow& window, const Slot& src, const Slot& dst) : UnaryLayer(src, dst), window_(window) {}
  void enqueue(cudaStream_t stream) override {
    with_element(dst_.layout.element, [&](auto tag) {
      using T = typename decltype(tag)::type;
      launch(pool_kernel<T, kMax>, kMax ? "max_pool" : "average_pool",
             {.grid = group_blocks(dst_.layout), .block = kNhwcBlock}, stream, nhwc<const T>(src_),
             nhwc<T>(dst_), window_);
    });
  }

 private:
  PoolWindow window_;
};

class GlobalAverage final : public UnaryLayer {
 public:
  using UnaryLayer::UnaryLayer;
  void enqueue(cudaStream_t stream) override {
    with_element(dst_.layout.element, [&](auto tag) {
      using T = typename decltype(tag)::type;
      launch(global_average_kernel<T>, "global_average",
             {.grid = group_blocks(dst_.layout), .block = kNhwcBlock}, stream, nhwc<const T>(src_),
             nhwc<T>(dst_));
    });
  }
};

}  // namespace

LayerPtr make_max_pool(const MaxPoolOp& op, const Slot& src, const Slot& dst) {
  return std::make_unique<Pool<true>>(pool_window(op.window, op.ceil_mode, false, src.layout), src, dst);
}
LayerPtr make_average_pool(const AveragePoolOp& op, const Slot& src, const Slot& dst) {
  return std::make_unique<Pool<false>>(pool_window(op.window, op.ceil_mode, op.count_include_pad, src.layout),
                                       src, dst);
}
LayerPtr make_global_average_pool(const Slot& src, const Slot& dst) {
  return std::make_unique<GlobalAverage>(src, dst);
}

}  // namespace branchsae::cuda
