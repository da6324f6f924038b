#include "cpu/network/pool.h"

#include <algorithm>
#include <vector>

#include "cpu/network/pool_kernels.h"
#include "cpu/threads.h"
#include "engine/passes.h"

namespace branchsae::cpu {
namespace {

/// One axis of the window over a concrete input: which positions each output sees, and how many it counts.
struct PoolAxis {
  std::vector<WindowSpan> spans;
  std::vector<float> counted;  ///< with padding when that is included
  int64_t step;

  PoolAxis(const Window& window, int axis, int64_t in, bool ceil_mode, bool count_padding) {
    const auto a = static_cast<size_t>(axis);
    const WindowExtent extent = window_extent(window, axis, in, ceil_mode);
    step = window.dilation[a];
    for (int64_t out = 0; out < extent.out; ++out) {
      const int64_t start = out * window.stride[a] - extent.pad_begin;
      const WindowSpan real = clip(start, window.kernel[a], 0, in);
      const WindowSpan padded = clip(start, window.kernel[a], -extent.pad_begin, in + extent.pad_end);
      spans.push_back(real);
      counted.push_back(static_cast<float>(count_padding ? padded.count : real.count));
    }
  }

 private:
  /// Those of start, start + step, ... (kernel of them) that lie in [low, high).
  WindowSpan clip(int64_t start, int64_t kernel, int64_t low, int64_t high) const {
    const int64_t skipped = start >= low ? 0 : (low - start + step - 1) / step;
    const int64_t begin = start + skipped * step;
    const int64_t fits = begin >= high ? 0 : (high - begin + step - 1) / step;
    return {begin, std::clamp<int64_t>(fits, 0, std::max<int64_t>(0, kernel - skipped))};
  }
};

class Pool final : public UnaryLayer {
 public:
  enum class Kind { kMax, kAverage };
  Pool(Kind kind, const Window& window, bool ceil_mode, bool count_padding, const Slot& src, const Slot& dst,
       int threads)
      : UnaryLayer(src, dst),
        kind_(kind),
        rows_(window, 0, src.layout.h, ceil_mode, count_padding),
        columns_(window, 1, src.layout.w, ceil_mode, count_padding),
        threads_(threads) {
    sees_padding_only_ =
        std::ranges::any_of(rows_.spans, [](const WindowSpan& s) { return s.count == 0; }) ||
        std::ranges::any_of(columns_.spans, [](const WindowSpan& s) { return s.count == 0; });
  }

  LayerPtr clone() const override { return std::make_unique<Pool>(*this); }
  int64_t scratch_bytes() const override {
    return threads_ * src_slot_.layout.w * src_slot_.layout.block * static_cast<int64_t>(sizeof(float));
  }

  void run(const Chunk&) override {
    const Layout& out = dst_.layout;
    const int64_t rows = out.blocks() * out.h;
    parallel_for(out.n * rows, [&](int64_t i) { write_row(i / rows, i % rows / out.h, i % out.h); });
    if (sees_padding_only_) zero_padding_channels(dst_);  // -inf there otherwise
  }

 private:
  void write_row(int64_t image, int64_t block, int64_t y) const {
    const Layout &in = src_.layout, &out = dst_.layout;
    const PoolRow row{.plane = src_.plane(image, block),
                      .width = in.w,
                      .block = in.block,
                      .rows = rows_.spans[static_cast<size_t>(y)],
                      .row_step = rows_.step,
                      .columns = columns_.spans.data(),
                      .column_step = columns_.step,
                      .out_width = out.w,
                      .column_counts = columns_.counted.data(),
                      .row_count = rows_.counted[static_cast<size_t>(y)],
                      .scratch = scratch_ + worker_index() * in.w * in.block,
                      .dst = dst_.plane(image, block) + y * out.w * out.block};
    kind_ == Kind::kMax ? max_pool_row(row) : average_pool_row(row);
  }

  Kind kind_;
  PoolAxis rows_, columns_;
  int threads_;
  bool sees_padding_only_ = false;
};

class GlobalAveragePool final : public UnaryLayer {
 public:
  using UnaryLayer::UnaryLayer;
  LayerPtr clone() const override { return std::make_unique<GlobalAveragePool>(*this); }
  void run(const Chunk&) override {
    const Layout& in = src_.layout;
    parallel_for(in.n * in.blocks(), [&](int64_t i) {
      const int64_t image = i / in.blocks(), block = i % in.blocks();
      mean_of_plane(src_.plane(image, block), in.h * in.w, in.block, dst_.plane(image, block));
    });
  }
};

}  // namespace

LayerPtr make_max_pool(const MaxPoolOp& op, const Slot& src, const Slot& dst, int threads) {
  return std::make_unique<Pool>(Pool::Kind::kMax, op.window, op.ceil_mode, false, src, dst, threads);
}

LayerPtr make_average_pool(const AveragePoolOp& op, const Slot& src, const Slot& dst, int threads) {
  return std::make_unique<Pool>(Pool::Kind::kAverage, op.window, op.ceil_mode, op.count_include_pad, src, dst,
                                threads);
}

LayerPtr make_global_average_pool(const Slot& src, const Slot& dst) {
  return std::make_unique<GlobalAveragePool>(src, dst);
}

}  // namespace branchsae::cpu
