#include "cpu/network/im2row.h"

#include <algorithm>

#include "cpu/memory.h"
#include "cpu/network/im2row_kernel.h"
#include "cpu/threads.h"
#include "engine/passes.h"

namespace branchsae::cpu {
namespace {

constexpr auto kFloatBytes = static_cast<int64_t>(sizeof(float));

class Im2row final : public UnaryLayer {
 public:
  Im2row(const ConvOp& op, const Slot& src, const Slot& dst, int threads)
      : UnaryLayer(src, dst),
        window_(op.window),
        groups_(op.groups),
        relu_(op.relu),
        threads_(threads),
        pad_{window_extent(op.window, 0, src.layout.h, false).pad_begin,
             window_extent(op.window, 1, src.layout.w, false).pad_begin},
        group_inputs_(op.weight->dim(1)),
        group_outputs_(op.weight->dim(0) / op.groups),
        inputs_(group_inputs_ * window_.kernel[0] * window_.kernel[1]),
        tiles_((group_outputs_ + kIm2rowOutputs - 1) / kIm2rowOutputs) {
    const int64_t floats = groups_ * tiles_ * kIm2rowOutputs * (inputs_ + 1);
    packed_ = std::make_shared<DeviceMemory>(allocate_host(floats * kFloatBytes, "packed weights"));
    std::fill_n(weight(0, 0), floats, 0.0F);
    for (int64_t output = 0; output < op.weight->dim(0); ++output) pack(op, output);
    info.implementation = "own im2row";
    info.flops = 2 * op.weight->size() * dst.layout.n * dst.layout.h * dst.layout.w;
    info.bytes += weight_bytes();
  }

  LayerPtr clone() const override { return std::make_unique<Im2row>(*this); }
  int64_t weight_bytes() const override { return packed_->size_bytes(); }
  int64_t scratch_bytes() const override { return threads_ * worker_floats() * kFloatBytes; }

  void run(const Chunk&) override {
    const Layout& out = dst_.layout;
    const int64_t strips = (out.w + kIm2rowPixels - 1) / kIm2rowPixels;
    parallel_for(out.n * out.h * strips, [&](int64_t i) {
      const int64_t image = i / strips / out.h, y = i / strips % out.h, x = i % strips * kIm2rowPixels;
      for (int64_t group = 0; group < groups_; ++group) run_strip(image, y, x, group);
    });
    zero_padding_channels(dst_);
  }

 private:
  int64_t worker_floats() const { return (inputs_ + kIm2rowOutputs) * kIm2rowPixels; }
  float* weight(int64_t group, int64_t tile) const {
    return static_cast<float*>(packed_->data()) + (group * tiles_ + tile) * kIm2rowOutputs * (inputs_ + 1);
  }
  float* bias(int64_t group, int64_t tile) const { return weight(group, tile) + kIm2rowOutputs * inputs_; }

  void pack(const ConvOp& op, int64_t output) {
    const int64_t group = output / group_outputs_, tile = output % group_outputs_ / kIm2rowOutputs;
    const int64_t lane = output % group_outputs_ % kIm2rowOutputs;
    for (int64_t k = 0; k < inputs_; ++k) {
      weight(group, tile)[k * kIm2rowOutputs + lane] = (*op.weight)[output * inputs_ + k];
    }
    bias(group, tile)[lane] = (*op.bias)[output];
  }

  /// Up to 48 neighbouring outputs of one row, all channels of one group.
  void run_strip(int64_t image, int64_t y, int64_t first_x, int64_t group) const {
    float* columns = scratch_ + worker_index() * worker_floats();
    float* result = columns + inputs_ * kIm2rowPixels;
    float* column = columns;
    for (int64_t channel = group * group_inputs_; channel < (group + 1) * group_inputs_; ++channel) {
      for (int64_t ky = 0; ky < window_.kernel[0]; ++ky) {
        for (int64_t kx = 0; kx < window_.kernel[1]; ++kx, column += kIm2rowPixels) {
          write_column(image, channel, y * window_.stride[0] - pad_[0] + ky * window_.dilation[0],
                       first_x * window_.stride[1] - pad_[1] + kx * window_.dilation[1], column);
        }
      }
    }
    const int64_t pixels = std::min(kIm2rowPixels, dst_.layout.w - first_x);
    for (int64_t tile = 0; tile < tiles_; ++tile) {
      im2row_tile({.weight = weight(group, tile),
                   .bias = bias(group, tile),
                   .columns = columns,
                   .inputs = inputs_,
                   .relu = relu_,
                   .dst = result});
      store(result, pixels, image, y, first_x, group * group_outputs_ + tile * kIm2rowOutputs,
            std::min(kIm2rowOutputs, group_outputs_ - tile * kIm2rowOutputs));
    }
  }

  /// What 48 windows see at one of their places; the first sees (y, x) of the input.
  void write_column(int64_t image, int64_t channel, int64_t y, int64_t x, float* column) const {
    const Layout& in = src_.layout;
    std::fill_n(column, kIm2rowPixels, 0.0F);
    if (y < 0 || y >= in.h) return;
    const float* row = src_.plane(image, channel / in.block) + y * in.w * in.block + channel % in.block;
    for (int64_t p = 0; p < kIm2rowPixels; ++p, x += window_.stride[1]) {
      if (x >= 0 && x < in.w) column[p] = row[x * in.block];
    }
  }

  void store(const float* result, int64_t pixels, int64_t image, int64_t y, int64_t first_x,
             int64_t first_channel, int64_t channels) const {
    const Layout& out = dst_.layout;
    for (int64_t c = 0; c < channels; ++c) {
      const int64_t channel = first_channel + c;
      float* row =
          dst_.plane(image, channel / out.block) + (y * out.w + first_x) * out.block + channel % out.block;
      for (int64_t p = 0; p < pixels; ++p) row[p * out.block] = result[p * kIm2rowOutputs + c];
    }
  }

  Window window_;
  int64_t groups_;
  bool relu_;
  int threads_;
  std::array<int64_t, 2> pad_;
  int64_t group_inputs_, group_outputs_;
  int64_t inputs_;                        ///< of one output: channels times window
  int64_t tiles_;                         ///< of one group
  std::shared_ptr<DeviceMemory> packed_;  ///< [groups][tiles]: [inputs][16] weights, then [16] biases
};

}  // namespace

LayerPtr make_im2row_convolution(const ConvOp& op, const Slot& src, const Slot& dst, int threads) {
  return std::make_unique<Im2row>(op, src, dst, threads);
}

}  // namespace branchsae::cpu
