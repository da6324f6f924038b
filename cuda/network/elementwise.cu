#include "cuda/network/elementwise.h"

#include <algorithm>
#include <vector>

#include "cuda/kernels/binary.cuh"
#include "cuda/kernels/elementwise.cuh"
#include "cuda/kernels/softmax.cuh"
#include "cuda/launch.h"
#include "cuda/network/dispatch.cuh"

namespace branchsae::cuda {
namespace {

template <UnaryKind kKind>
class Unary : public UnaryLayer {
 public:
  Unary(const Slot& src, const Slot& dst, const UnaryNumbers& numbers)
      : UnaryLayer(src, dst), numbers_(numbers) {}
  void enqueue(cudaStream_t stream) override {
    with_element(dst_.layout.element, [&](auto tag) {
      using T = typename decltype(tag)::type;
      launch(elementwise_kernel<T, kKind>, "elementwise",
             {.grid = group_blocks(dst_.layout), .block = kNhwcBlock}, stream, nhwc<const T>(src_),
             nhwc<T>(dst_), numbers_);
    });
  }

 protected:
  UnaryNumbers numbers_;
};

class Affine final : public Unary<UnaryKind::kAffine> {
 public:
  Affine(const AffineOp& op, const Slot& src, const Slot& dst, WeightStore& weights)
      : Unary(src, dst, {}),
        scale_(weights.add(padded(*op.scale, dst.layout), Element::kF32)),
        shift_(weights.add(padded(*op.shift, dst.layout), Element::kF32)) {}
  void bind(const Addresses& addresses) override {
    Unary::bind(addresses);
    numbers_.scale = addresses.weight<float>(scale_);
    numbers_.shift = addresses.weight<float>(shift_);
  }

 private:
  static std::vector<float> padded(const HostTensor& numbers, const Layout& layout) {
    std::vector<float> result(static_cast<size_t>(layout.padded_channels()), 0.0F);
    std::ranges::copy(numbers.values(), result.begin());
    return result;
  }
  int64_t scale_, shift_;
};

BinaryKind binary_kind(BinaryOp::Kind kind) {
  switch (kind) {
    case BinaryOp::Kind::kAdd:
      return BinaryKind::kAdd;
    case BinaryOp::Kind::kSub:
      return BinaryKind::kSubtract;
    case BinaryOp::Kind::kMul:
      return BinaryKind::kMultiply;
    case BinaryOp::Kind::kDiv:
      break;
  }
  return BinaryKind::kDivide;
}

class Binary final : public Layer {
 public:
  Binary(const BinaryOp& op, const Slot& left, const Slot& right, const Slot& dst)
      : kind_(binary_kind(op.kind)), left_slot_(left), right_slot_(right), dst_slot_(dst) {}
  void bind(const Addresses& addresses) override {
    left_ = addresses.at(left_slot_);
    right_ = addresses.at(right_slot_);
    dst_ = addresses.at(dst_slot_);
  }
  void enqueue(cudaStream_t stream) override {
    with_element(dst_.layout.element, [&](auto tag) {
      using T = typename decltype(tag)::type;
      launch(binary_kernel<T>, "binary", {.grid = group_blocks(dst_.layout), .block = kNhwcBlock}, stream,
             kind_, nhwc<const T>(left_), nhwc<const T>(right_), nhwc<T>(dst_));
    });
  }

 private:
  BinaryKind kind_;
  Slot left_slot_, right_slot_, dst_slot_;
  Activation left_, right_, dst_;
};

class Softmax final : public UnaryLayer {
 public:
  using UnaryLayer::UnaryLayer;
  void enqueue(cudaStream_t stream) override {
    const int64_t grid = (dst_.layout.n + kSoftmaxRows - 1) / kSoftmaxRows;
    with_element(dst_.layout.element, [&](auto tag) {
      using T = typename decltype(tag)::type;
      launch(softmax_kernel<T>, "softmax", {.grid = grid, .block = kSoftmaxRows * kWarp}, stream,
             nhwc<const T>(src_), nhwc<T>(dst_));
    });
  }
};

}  // namespace

LayerPtr make_affine(const AffineOp& op, const Slot& src, const Slot& dst, WeightStore& weights) {
  return std::make_unique<Affine>(op, src, dst, weights);
}
LayerPtr make_relu(const Slot& src, const Slot& dst) {
  return std::make_unique<Unary<UnaryKind::kRelu>>(src, dst, UnaryNumbers{});
}
LayerPtr make_clip(const ClipOp& op, const Slot& src, const Slot& dst) {
  return std::make_unique<Unary<UnaryKind::kClip>>(
      src, dst, UnaryNumbers{.scale = nullptr, .shift = nullptr, .low = op.min, .high = op.max});
}
LayerPtr make_binary(const BinaryOp& op, const Slot& left, const Slot& right, const Slot& dst) {
  return std::make_unique<Binary>(op, left, right, dst);
}
LayerPtr make_softmax(const Slot& src, const Slot& dst) {
  return std::make_unique<Softmax>(src, dst);
}

}  // namespace branchsae::cuda
