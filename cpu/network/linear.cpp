#include "cpu/network/linear.h"

#include <algorithm>

#include "cpu/memory.h"
#include "cpu/network/linear_kernel.h"
#include "cpu/threads.h"

namespace branchsae::cpu {
namespace {

class Linear final : public UnaryLayer {
 public:
  Linear(const LinearOp& op, const Slot& src, const Slot& dst)
      : UnaryLayer(src, dst), relu_(op.relu), inputs_(src.layout.image_size()) {
    tiles_ = (dst.layout.c + kLinearOutputs - 1) / kLinearOutputs;
    const int64_t floats = tiles_ * kLinearOutputs * (inputs_ + 1);
    packed_ = std::make_shared<DeviceMemory>(
        allocate_host(floats * static_cast<int64_t>(sizeof(float)), "packed weights"));
    std::fill(weight(0), weight(0) + floats, 0.0F);
    for (int64_t output = 0; output < dst.layout.c; ++output) pack_row(op, output);
    info.flops = 2 * op.weight->size() * dst.layout.n;
    info.bytes += weight_bytes();
  }

  LayerPtr clone() const override { return std::make_unique<Linear>(*this); }
  int64_t weight_bytes() const override { return packed_->size_bytes(); }

  void run(const Chunk&) override {
    const int64_t images = src_.layout.n, groups = (images + kLinearImages - 1) / kLinearImages;
    parallel_for(tiles_, [&](int64_t tile) {
      for (int64_t group = 0; group < groups; ++group) run_tile(tile, group * kLinearImages);
    });
  }

 private:
  float* weight(int64_t tile) const {
    return static_cast<float*>(packed_->data()) + tile * inputs_ * kLinearOutputs;
  }
  float* bias(int64_t tile) const { return weight(tiles_) + tile * kLinearOutputs; }

  /// One output's weights, from NCHW order to src's order.
  void pack_row(const LinearOp& op, int64_t output) {
    const Layout& in = src_slot_.layout;
    const int64_t pixels = in.h * in.w, lane = output % kLinearOutputs;
    const float* from = op.weight->data() + output * op.weight->dim(1);
    float* to = weight(output / kLinearOutputs) + lane;
    for (int64_t channel = 0; channel < in.c; ++channel) {
      const int64_t first = channel / in.block * in.plane_size() + channel % in.block;
      for (int64_t pixel = 0; pixel < pixels; ++pixel) {
        to[(first + pixel * in.block) * kLinearOutputs] = from[channel * pixels + pixel];
      }
    }
    bias(output / kLinearOutputs)[lane] = (*op.bias)[output];
  }

  void run_tile(int64_t tile_index, int64_t first_image) const {
    float rows[kLinearImages][kLinearOutputs];
    LinearTile tile{.weight = weight(tile_index),
                    .bias = bias(tile_index),
                    .inputs = inputs_,
                    .src = {},
                    .dst = {},
                    .images = std::min(kLinearImages, src_.layout.n - first_image),
                    .relu = relu_};
    for (int64_t i = 0; i < tile.images; ++i) {
      tile.src[i] = src_.plane(first_image + i, 0);
      tile.dst[i] = rows[i];
    }
    linear_tile(tile);
    // The last tile may reach beyond dst's padding, which has the processor's block.
    const int64_t begin = tile_index * kLinearOutputs;
    const int64_t count = std::min(kLinearOutputs, dst_.layout.padded_channels() - begin);
    for (int64_t i = 0; i < tile.images; ++i) {
      std::copy_n(rows[i], count, dst_.plane(first_image + i, 0) + begin);
    }
  }

  bool relu_;
  int64_t inputs_, tiles_ = 0;
  std::shared_ptr<DeviceMemory> packed_;  ///< [tiles][inputs][16] weights, then [tiles][16] biases
};

}  // namespace

LayerPtr make_linear(const LinearOp& op, const Slot& src, const Slot& dst) {
  return std::make_unique<Linear>(op, src, dst);
}

}  // namespace branchsae::cpu
