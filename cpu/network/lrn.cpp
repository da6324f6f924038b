#include "cpu/network/lrn.h"

#include <algorithm>

#include "cpu/network/lrn_kernel.h"
#include "cpu/threads.h"

namespace branchsae::cpu {
namespace {

/// Pixels squared before they are summed: enough that the unaligned loads of the sums do not wait for the
/// stores of the squares, few enough that they stay in the first-level cache.
constexpr int64_t kTilePixels = 16;

class Lrn final : public UnaryLayer {
 public:
  Lrn(const LrnOp& op, const Slot& src, const Slot& dst, int threads)
      : UnaryLayer(src, dst), op_(op), before_((op.size - 1) / 2), threads_(threads) {
    // Window sums read up to size - 1 columns beyond a vector that begins in the last block.
    pitch_ = (src.layout.padded_channels() + op.size + 15) / 16 * 16;
  }

  LayerPtr clone() const override { return std::make_unique<Lrn>(*this); }
  int64_t scratch_bytes() const override {
    return threads_ * kTilePixels * pitch_ * static_cast<int64_t>(sizeof(float));
  }

  void run(const Chunk&) override {
    // The scratch is shared between layers: its zero columns are written again.
    std::fill(scratch_, scratch_ + threads_ * kTilePixels * pitch_, 0.0F);
    const Layout& layout = src_.layout;
    const int64_t pixels = layout.h * layout.w, tiles = (pixels + kTilePixels - 1) / kTilePixels;
    parallel_for(layout.n * tiles, [&](int64_t i) {
      const int64_t begin = i % tiles * kTilePixels;
      run_tile(i / tiles, begin, std::min(kTilePixels, pixels - begin));
    });
    if (op_.bias <= 0) zero_padding_channels(dst_);  // 0 / 0 there
  }

 private:
  void run_tile(int64_t image, int64_t first_pixel, int64_t pixels) const {
    const Layout& layout = src_.layout;
    lrn_tile({.src = src_.plane(image, 0) + first_pixel * layout.block,
              .dst = dst_.plane(image, 0) + first_pixel * layout.block,
              .plane_size = layout.plane_size(),
              .pixels = pixels,
              .blocks = layout.blocks(),
              .block = layout.block,
              .size = op_.size,
              .before = before_,
              .alpha_over_size = op_.alpha / static_cast<float>(op_.size),
              .beta = op_.beta,
              .bias = op_.bias,
              .squares = scratch_ + worker_index() * kTilePixels * pitch_,
              .pitch = pitch_});
  }

  LrnOp op_;
  int64_t before_, pitch_;
  int threads_;
};

}  // namespace

LayerPtr make_lrn(const LrnOp& op, const Slot& src, const Slot& dst, int threads) {
  return std::make_unique<Lrn>(op, src, dst, threads);
}

}  // namespace branchsae::cpu
