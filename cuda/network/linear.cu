#include "cuda/network/linear.h"

#include <vector>

#include "cuda/kernels/linear.cuh"
#include "cuda/launch.h"
#include "cuda/network/dispatch.cuh"

namespace branchsae::cuda {
namespace {

/// Rows from NCHW order to src's: pixel by pixel, channels padded with zeros.
std::vector<float> packed_weight(const HostTensor& weight, const Layout& src) {
  const int64_t pixels = src.h * src.w, padded = src.padded_channels(), outputs = weight.dim(0);
  std::vector<float> packed(static_cast<size_t>(outputs * pixels * padded), 0.0F);
  for (int64_t o = 0; o < outputs; ++o) {
    for (int64_t c = 0; c < src.c; ++c) {
      for (int64_t p = 0; p < pixels; ++p) {
        packed[static_cast<size_t>((o * pixels + p) * padded + c)] = weight[(o * src.c + c) * pixels + p];
      }
    }
  }
  return packed;
}

class Linear final : public UnaryLayer {
 public:
  Linear(const LinearOp& op, const Slot& src, const Slot& dst, WeightStore& weights)
      : UnaryLayer(src, dst),
        weight_(weights.add(packed_weight(*op.weight, src.layout), src.layout.element)),
        bias_(weights.add(op.bias->values(), Element::kF32)) {
    shape_ = {static_cast<int32_t>(src.layout.h * src.layout.w * src.layout.padded_channels()),
              static_cast<int32_t>(dst.layout.c), op.relu ? 1 : 0, nullptr};
    info.flops = 2 * op.weight->size() * dst.layout.n;
  }

  void bind(const Addresses& addresses) override {
    UnaryLayer::bind(addresses);
    weight_address_ = addresses.weight(weight_);
    shape_.bias = addresses.weight<float>(bias_);
  }

  void enqueue(cudaStream_t stream) override {
    const auto tiles = [](int64_t count) { return (count + kLinearTile - 1) / kLinearTile; };
    const LaunchShape launched{.grid = tiles(src_.layout.n) * tiles(dst_.layout.c),
                               .block = kNhwcBlock,
                               .smem_bytes = 2 * smem_bytes<float>(kLinearDepth * kLinearPitch)};
    with_element(src_.layout.element, [&](auto tag) {
      using T = typename decltype(tag)::type;
      launch(linear_kernel<T>, "linear", launched, stream, nhwc<const T>(src_),
             static_cast<const T*>(weight_address_), shape_, nhwc<float>(dst_));
    });
  }

 private:
  int64_t weight_, bias_;
  LinearShape shape_{};
  const void* weight_address_ = nullptr;
};

}  // namespace

LayerPtr make_linear(const LinearOp& op, const Slot& src, const Slot& dst, WeightStore& weights) {
  return std::make_unique<Linear>(op, src, dst, weights);
}

}  // namespace branchsae::cuda
