#pragma once
/// Sizes and memory layouts shared by the kernels of the k-sparse autoencoder.
#include <algorithm>
#include <cstdint>

#include "engine/sae.h"

namespace branchsae::cpu {

/// Latents of one packed panel: W is also kept as [n / 64][d][64], so that the encode reads it in order.
inline constexpr int64_t kPanel = 64;
/// At most so many panels have pre-activations at once (SaeLayout::chunk_panels).
inline constexpr int64_t kChunkPanels = 32;
inline constexpr int64_t kChunk = kPanel * kChunkPanels;
/// Row stride of the sums that the sparse encode sets aside between blocks of columns: two panels.
inline constexpr int64_t kSumStride = 2 * kPanel + 16;
/// Tokens multiplied at once: 6 x 64 is the largest block whose sums fit the 32 registers of AVX-512.
inline constexpr int64_t kTokenGroup = 6;
/// Rows are padded to whole vectors of the widest instruction set.
inline constexpr int64_t kLanes = 16;
/// Tokens selected in lockstep.
inline constexpr int64_t kLockstep = 4;
/// Up to this k the group maxima of the encode give a starting threshold.
inline constexpr int64_t kFastK = kPanel;
/// Columns of a row that fits the registers, with residual and token, in decode and gradient.
inline constexpr int64_t kNarrowColumns = 64;
/// Parts of a batch whose gradients are summed apart under the scatter scheme; fixed, so that bits do not
/// depend on the threads. The last ones are small: what threads of unequal speed can share out at the end.
inline constexpr int64_t kPartials = 10;

inline int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}
inline int64_t divide_up(int64_t value, int64_t divisor) {
  return (value + divisor - 1) / divisor;
}

/// How the gradient of W is summed.
enum class GradientScheme {
  kScatter,  ///< every token adds to a partial gradient; while that fits the L2 cache
  kRanges,   ///< pairs are kept; then a range of latents and a slice of columns at a time is summed in cache
};

/// Derived sizes of one autoencoder.
struct SaeLayout {
  explicit SaeLayout(const SaeSpec& spec);

  int64_t d, n;
  int64_t d_padded;  ///< row stride of W, multiple of kLanes; padding is zero
  int64_t panels;    ///< the last panel is padded with zero weights and a bias of -infinity
  int64_t tile;      ///< tokens of one task, multiple of kTokenGroup
  /// Panels whose pre-activations exist at once; after each chunk the k best so far are selected. One chunk
  /// saves a selection; where one would not do, small ones leave more of the L2 cache to the weights.
  int64_t chunk_panels;
  int64_t key_stride;  ///< of a tile of keys; more than the chunk, or rows would collide every 2 KiB in L1
  int64_t x_stride;    ///< row stride of a tile of tokens
  GradientScheme scheme;
  /// Residuals and tokens are stored in slices of this many columns, moments too: [slices][n][width]. Under
  /// kScatter, and where rows have unit norm, one slice is the whole row.
  int64_t slice, slices;
  /// Latents whose slice of the gradient stays in cache, a multiple of kPanel. The bits of a result do not
  /// depend on it.
  int64_t range, ranges;
  /// Under kRanges: the gradients of the two halves of a batch are summed apart, each by threads that wrote
  /// its residuals, where a gradient is no larger than what a batch has of those.
  bool halves;

  int64_t n_padded() const { return panels * kPanel; }
  int64_t range_latents(int64_t r) const { return std::min(range, n - r * range); }
  int64_t tiles(int64_t tokens) const { return divide_up(tokens, tile); }
  /// Tiles of the first half of a batch.
  int64_t half_tiles(int64_t tokens) const { return divide_up(tiles(tokens), 2); }
  /// One slice of the rows of a range each; so many are for threads of the first half.
  int64_t update_tasks() const { return ranges * slices; }
  int64_t first_update_tasks() const { return divide_up(update_tasks(), 2); }
  int64_t slice_begin(int64_t s) const { return s * slice; }
  int64_t slice_width(int64_t s) const { return std::min(slice, d_padded - s * slice); }
  /// Where slice s of latent i starts in the moments.
  int64_t moment_offset(int64_t s, int64_t i) const { return slice_begin(s) * n + i * slice_width(s); }
};

}  // namespace branchsae::cpu
