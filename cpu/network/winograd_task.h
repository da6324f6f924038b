#pragma once
/// One thread's share of a Winograd convolution, and the kernels' entry.
#include <algorithm>
#include <cstdint>

#include "cpu/network/layout.h"
#include "cpu/network/winograd_points.h"

namespace branchsae::cpu {

/// Output channel blocks in panels whose widths differ by one block at most; a panel's products of one point
/// fit the registers side by side.
struct WinogradPanels {
  static constexpr int64_t kMaxBlocks = 4;
  int64_t blocks = 0;  ///< of all panels

  int64_t count() const { return (blocks + kMaxBlocks - 1) / kMaxBlocks; }
  int64_t begin(int64_t panel) const { return panel * blocks / count(); }  ///< in blocks
  int64_t width(int64_t panel) const { return begin(panel + 1) - begin(panel); }
};

/// Some consecutive tiles times some consecutive panels of output channels.
///   V [points^2][tiles][input channels]    transformed inputs
///   U [panel][points^2][input channels][panel's channels]   transformed weights
///   M [points^2][tiles][panel's channels]  products, of one panel at a time
/// Every number of dst is one sum over the input channels in order, so its bits do not depend on the split.
struct WinogradTask {
  WinogradForm form;
  Blob src, dst;  ///< in equal channel blocks of 8 or 16; dst may be a slice
  int64_t pad_y = 0, pad_x = 0;
  int64_t tile_rows = 0, tile_columns = 0;  ///< of one image
  int64_t first_tile = 0, tiles = 0;        ///< (image * tile_rows + row) * tile_columns + column
  int64_t first_panel = 0, panels = 0;
  const float* weights = nullptr;  ///< U
  const float* bias = nullptr;     ///< padded to whole blocks
  bool relu = false;
  float* scratch = nullptr;  ///< winograd_scratch_floats(), 64-byte aligned
};

/// From one point's numbers to the next one's: off a power of two, or all points would meet in one cache set.
inline int64_t winograd_point_stride(int64_t tiles, int64_t channels) {
  return tiles * channels + 16;
}

inline int64_t winograd_input_floats(int64_t tiles, const Layout& src) {
  return kWinogradPoints * kWinogradPoints * winograd_point_stride(tiles, src.padded_channels());
}

/// For V and M.
inline int64_t winograd_scratch_floats(int64_t tiles, const Layout& src, const Layout& dst) {
  const int64_t widest = std::min(dst.blocks(), WinogradPanels::kMaxBlocks) * dst.block;
  return winograd_input_floats(tiles, src) +
         kWinogradPoints * kWinogradPoints * winograd_point_stride(tiles, widest);
}

/// In the processor's vector instructions.
void run_winograd_task(const WinogradTask& task);

}  // namespace branchsae::cpu
