#include "cpu/network/elementwise.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "cpu/network/elementwise_kernels.h"
#include "cpu/threads.h"

namespace branchsae::cpu {
namespace {

/// work(src plane, dst plane, channel block) over all planes.
template <class Work>
void over_planes(const Blob& src, const Blob& dst, const Work& work) {
  const int64_t blocks = src.layout.blocks();
  parallel_for(src.layout.n * blocks, [&](int64_t i) {
    work(src.plane(i / blocks, i % blocks), dst.plane(i / blocks, i % blocks), i % blocks);
  });
}

class Affine final : public UnaryLayer {
 public:
  Affine(const AffineOp& op, const Slot& src, const Slot& dst)
      : UnaryLayer(src, dst),
        scale_(patterns(*op.scale, src.layout)),
        shift_(patterns(*op.shift, src.layout)) {}
  LayerPtr clone() const override { return std::make_unique<Affine>(*this); }
  void run(const Chunk&) override {
    over_planes(src_, dst_, [this](const float* in, float* out, int64_t block) {
      affine_run(in, out, src_.layout.plane_size(), scale_.data() + block * 16, shift_.data() + block * 16);
    });
  }

 private:
  /// [blocks][16]: each block's numbers repeated to 16, zero beyond the channels.
  static std::vector<float> patterns(const HostTensor& numbers, const Layout& layout) {
    std::vector<float> result(static_cast<size_t>(layout.blocks() * 16), 0.0F);
    for (int64_t block = 0; block < layout.blocks(); ++block) {
      for (int64_t lane = 0; lane < 16; ++lane) {
        const int64_t channel = block * layout.block + lane % layout.block;
        if (channel < layout.c) result[static_cast<size_t>(block * 16 + lane)] = numbers[channel];
      }
    }
    return result;
  }
  std::vector<float> scale_, shift_;
};

class Relu final : public UnaryLayer {
 public:
  using UnaryLayer::UnaryLayer;
  LayerPtr clone() const override { return std::make_unique<Relu>(*this); }
  void run(const Chunk&) override {
    over_planes(src_, dst_, [this](const float* in, float* out, int64_t) {
      relu_run(in, out, src_.layout.plane_size());
    });
  }
};

class Clip final : public UnaryLayer {
 public:
  Clip(const ClipOp& op, const Slot& src, const Slot& dst) : UnaryLayer(src, dst), op_(op) {}
  LayerPtr clone() const override { return std::make_unique<Clip>(*this); }
  void run(const Chunk&) override {
    over_planes(src_, dst_, [this](const float* in, float* out, int64_t) {
      clip_run(in, out, src_.layout.plane_size(), op_.min, op_.max);
    });
    zero_padding_channels(dst_);  // 0 may lie outside the limits
  }

 private:
  ClipOp op_;
};

class Binary final : public Layer {
 public:
  Binary(const BinaryOp& op, const Slot& left, const Slot& right, const Slot& dst)
      : kind_(op.kind), left_slot_(left), right_slot_(right), dst_slot_(dst) {
    info.bytes = left.size_bytes() + right.size_bytes() + dst.size_bytes();
  }
  LayerPtr clone() const override { return std::make_unique<Binary>(*this); }
  void bind(const Addresses& addresses) override {
    left_ = addresses.at(left_slot_);
    right_ = addresses.at(right_slot_);
    dst_ = addresses.at(dst_slot_);
  }
  void run(const Chunk&) override {
    const Layout& layout = dst_.layout;
    parallel_for(layout.n * layout.blocks(), [&](int64_t i) {
      const int64_t image = i / layout.blocks(), block = i % layout.blocks();
      binary_run(kind_, left_.plane(image, block), right_.plane(image, block), dst_.plane(image, block),
                 layout.plane_size());
    });
    zero_padding_channels(dst_);  // 0 / 0 there
  }

 private:
  BinaryOp::Kind kind_;
  Slot left_slot_, right_slot_, dst_slot_;
  Blob left_, right_, dst_;
};

class Softmax final : public UnaryLayer {
 public:
  using UnaryLayer::UnaryLayer;
  LayerPtr clone() const override { return std::make_unique<Softmax>(*this); }
  void run(const Chunk&) override {
    parallel_for(src_.layout.n,
                 [&](int64_t image) { softmax(src_.plane(image, 0), dst_.plane(image, 0), src_.layout.c); });
    zero_padding_channels(dst_);
  }

 private:
  /// The largest number is taken off first: no overflow.
  static void softmax(const float* in, float* out, int64_t count) {
    const double largest = *std::max_element(in, in + count);
    double sum = 0;
    for (int64_t i = 0; i < count; ++i) sum += std::exp(in[i] - largest);
    for (int64_t i = 0; i < count; ++i) out[i] = static_cast<float>(std::exp(in[i] - largest) / sum);
  }
};

}  // namespace

LayerPtr make_affine(const AffineOp& op, const Slot& src, const Slot& dst) {
  return std::make_unique<Affine>(op, src, dst);
}
LayerPtr make_relu(const Slot& src, const Slot& dst) {
  return std::make_unique<Relu>(src, dst);
}
LayerPtr make_clip(const ClipOp& op, const Slot& src, const Slot& dst) {
  return std::make_unique<Clip>(op, src, dst);
}
LayerPtr make_binary(const BinaryOp& op, const Slot& left, const Slot& right, const Slot& dst) {
  return std::make_unique<Binary>(op, left, right, dst);
}
LayerPtr make_softmax(const Slot& src, const Slot& dst) {
  return std::make_unique<Softmax>(src, dst);
}

}  // namespace branchsae::cpu
