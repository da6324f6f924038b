#include "cpu/network/winograd.h"

#include <fmt/format.h>

#include <algorithm>

#include "cpu/memory.h"
#include "cpu/network/packed_weights.h"
#include "cpu/network/winograd_task.h"
#include "cpu/network/winograd_weights.h"
#include "cpu/threads.h"
#include "engine/passes.h"

namespace branchsae::cpu {
namespace {

/// What V and M may take of a core's second-level cache; weights pass through the rest.
constexpr int64_t kCacheFloats = int64_t{192} << 10;
/// Fewer tiles would not pay for reading the weights.
constexpr int64_t kFewTiles = 12;

int64_t divide_up(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

/// The layer's tiles in equal consecutive shares, times its panels in equal consecutive shares.
struct Split {
  int64_t tile_shares = 1, panel_shares = 1;
  int64_t tiles_each = 1;
};

Split split_work(int64_t tiles, int64_t floats_a_tile, int64_t panels, int threads) {
  const int64_t most = std::max(kFewTiles, kCacheFloats / floats_a_tile);
  int64_t shares = divide_up(tiles, most);
  if (shares > 1) shares = std::min(divide_up(shares, threads) * threads, divide_up(tiles, kFewTiles));
  Split split;
  split.tiles_each = divide_up(tiles, shares);
  split.tile_shares = divide_up(tiles, split.tiles_each);
  if (split.tile_shares < threads)
    split.panel_shares = std::min(panels, divide_up(threads, split.tile_shares));
  return split;
}

struct Weights {
  DeviceMemory packed;
  HostTensor bias;
};

class Winograd final : public UnaryLayer {
 public:
  Winograd(const ConvOp& op, WinogradForm form, const Slot& src, const Slot& dst, int threads)
      : UnaryLayer(src, dst),
        form_(form),
        panels_{dst.layout.blocks()},
        weights_(std::make_shared<Weights>(pack_winograd_weights(op, form, dst.layout),
                                           padded_vector(*op.bias, dst.layout.padded_channels()))),
        relu_(op.relu),
        threads_(threads) {
    pad_y_ = window_extent(op.window, 0, src.layout.h, false).pad_begin;
    pad_x_ = window_extent(op.window, 1, src.layout.w, false).pad_begin;
    tile_rows_ = divide_up(dst.layout.h, form.outputs);
    tile_columns_ = divide_up(dst.layout.w, form.outputs);
    tiles_ = dst.layout.n * tile_rows_ * tile_columns_;
    split_ = split_work(tiles_, winograd_scratch_floats(1, src.layout, dst.layout), panels_.count(), threads);
    share_floats_ = divide_up(winograd_scratch_floats(split_.tiles_each, src.layout, dst.layout), 16) * 16;
    info.implementation = fmt::format("own winograd F({},{})", form.outputs, form.taps);
    info.flops = 2 * op.weight->size() * dst.layout.n * dst.layout.h * dst.layout.w;
  }

  LayerPtr clone() const override { return std::make_unique<Winograd>(*this); }
  int64_t weight_bytes() const override {
    return weights_->packed.size_bytes() + weights_->bias.size() * static_cast<int64_t>(sizeof(float));
  }
  int64_t scratch_bytes() const override {
    return threads_ * share_floats_ * static_cast<int64_t>(sizeof(float));
  }

  void run(const Chunk&) override {
    parallel_for(split_.tile_shares * split_.panel_shares,
                 [&](int64_t i) { run_share(i / split_.panel_shares, i % split_.panel_shares); });
  }

 private:
  void run_share(int64_t tile_share, int64_t panel_share) const {
    const int64_t first_tile = tile_share * split_.tiles_each;
    const int64_t first_panel = panel_share * panels_.count() / split_.panel_shares;
    const int64_t end_panel = (panel_share + 1) * panels_.count() / split_.panel_shares;
    run_winograd_task({.form = form_,
                       .src = src_,
                       .dst = dst_,
                       .pad_y = pad_y_,
                       .pad_x = pad_x_,
                       .tile_rows = tile_rows_,
                       .tile_columns = tile_columns_,
                       .first_tile = first_tile,
                       .tiles = std::min(split_.tiles_each, tiles_ - first_tile),
                       .first_panel = first_panel,
                       .panels = end_panel - first_panel,
                       .weights = static_cast<const float*>(weights_->packed.data()),
                       .bias = weights_->bias.data(),
                       .relu = relu_,
                       .scratch = scratch_ + worker_index() * share_floats_});
  }

  WinogradForm form_;
  WinogradPanels panels_;
  std::shared_ptr<const Weights> weights_;
  bool relu_;
  int threads_;
  int64_t pad_y_ = 0, pad_x_ = 0;
  int64_t tile_rows_ = 0, tile_columns_ = 0, tiles_ = 0;
  Split split_;
  int64_t share_floats_ = 0;
};

}  // namespace

std::optional<WinogradForm> winograd_form(const ConvOp& op, const Layout& src, const Layout& dst,
                                          ConvAlgorithm algorithm) {
  const Window& window = op.window;
  const std::array<int64_t, 2> one{1, 1};
  const int64_t taps = window.kernel[0];
  if (algorithm != ConvAlgorithm::kAuto || op.groups != 1 || window.stride != one || window.dilation != one ||
      window.kernel[1] != taps || src.block != dst.block || src.block == 1) {
    return std::nullopt;
  }
  if (taps == 3) return WinogradForm{4, 3};
  if (taps == 5) return WinogradForm{2, 5};
  return std::nullopt;
}

LayerPtr make_winograd(const ConvOp& op, WinogradForm form, const Slot& src, const Slot& dst, int threads) {
  return std::make_unique<Winograd>(op, form, src, dst, threads);
}

}  // namespace branchsae::cpu
