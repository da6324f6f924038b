#include "cpu/sae/tile.h"

#include <cmath>
#include <limits>

namespace branchsae::cpu {
namespace {

// Columns of a block of the sparse encode: fewer would keep the weights of two panels in an L1 cache, but the
// sums would be loaded and stored more often, which costs more (measured at 32 to 528 columns).
constexpr int64_t kSparseColumns = 128;
// Up to this share of nonzeros the sparse encode is the faster one at every width. Both give the same bits,
// so the choice is free for every tile.
constexpr double kSparseShare = 0.35;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// NaN must reach neither maxima nor comparisons: it becomes -infinity, which is never selected.
bool replace_nan(const EncodeChunk& chunk, int64_t real_rows, int64_t real_columns) {
  bool found = false;
  for (int64_t t = 0; t < chunk.rows; ++t) {
    float* p = chunk.p + t * kTileStride;
    for (int64_t c = 0; c < chunk.panels * kPanel; ++c) {
      if (!std::isnan(p[c])) continue;
      p[c] = -kInfinity;
      found =
          found || (t < real_rows && c < real_columns);  // padding is zeros, and zero times infinity is NaN
    }
    if (chunk.group_maxima == nullptr) continue;
    float* maxima = chunk.group_maxima + t * kPanel;
    std::fill_n(maxima, kPanel, -kInfinity);
    for (int64_t c = 0; c < chunk.panels * kPanel; ++c)
      maxima[c % kPanel] = std::max(maxima[c % kPanel], p[c]);
  }
  return found;
}

bool selected_infinity(const SelectionBuffer& selection, int64_t rows) {
  for (int64_t t = 0; t < rows; ++t) {
    for (int64_t i = 0; i < selection.count(t); ++i) {
      if (selection.values(t)[i] == kInfinity) return true;
    }
  }
  return false;
}

}  // namespace

SelectionBuffer::SelectionBuffer(int64_t rows, int64_t k) {
  const int64_t stride = round_up(k, kLanes) + kLanes;
  values_ = Array<float>(rows * stride, "sae.selected_values");
  indices_ = Array<int32_t>(rows * stride, "sae.selected_indices");
  counts_ = Array<int32_t>(rows, "sae.selected_counts");
  thresholds_ = Array<float>(rows, "sae.thresholds");
  maxima_ = Array<float>(rows, "sae.maxima");
  view_ = {k, stride, values_.data(), indices_.data(), counts_.data(), thresholds_.data(), maxima_.data()};
}

int64_t SelectionBuffer::size_bytes() const {
  return values_.size_bytes() + indices_.size_bytes() + counts_.size_bytes() + thresholds_.size_bytes() +
         maxima_.size_bytes();
}

TileWorkspace::TileWorkspace(const SaeLayout& layout, int64_t k, int64_t aux_k) {
  xs = Array<float>(layout.tile * layout.x_stride, "sae.tile_tokens");
  xc = Array<float>(layout.tile * layout.x_stride, "sae.tile_tokens");
  // Equal blocks of whole vectors.
  const int64_t block = round_up(divide_up(layout.d, divide_up(layout.d, kSparseColumns)), kLanes);
  const int64_t blocks = divide_up(layout.d, block);
  const int64_t block_stride = layout.tile * block + kLanes, starts_stride = layout.tile + 1;
  nonzero_columns = Array<int32_t>(blocks * block_stride, "sae.nonzeros");
  nonzero_values = Array<float>(blocks * block_stride, "sae.nonzeros");
  nonzero_starts = Array<int32_t>(blocks * starts_stride, "sae.nonzeros");
  nonzeros = {nonzero_columns.data(),
              nonzero_values.data(),
              block_stride,
              nonzero_starts.data(),
              starts_stride,
              block,
              blocks};
  r = Array<float>(layout.tile * layout.x_stride, "sae.tile_residuals");
  column_sums = Array<float>(layout.d_padded, "sae.column_sums");
  p = Array<float>(layout.tile * kTileStride, "sae.tile_pre_activations");
  group_maxima = Array<float>(layout.tile * kPanel, "sae.group_maxima");
  masks = Array<uint64_t>(layout.tile * kChunkPanels, "sae.masks");
  gradient = Array<float>(layout.slice, "sae.gradient_row");
  gradient_dec = Array<float>(layout.slice, "sae.gradient_row");
  if (aux_k > 0) aux_selection = SelectionBuffer(layout.tile, aux_k);
  selection = SelectionBuffer(layout.tile, k);
  reserve(layout, std::max(k, aux_k));
}

void TileWorkspace::reserve(const SaeLayout& layout, int64_t k) {
  if (selection.k() < k) selection = SelectionBuffer(layout.tile, k);
  const int64_t wanted = round_up(k, kLanes) + kChunk + 6 * kLanes;
  if (candidate_stride >= wanted) return;
  candidate_values = Array<float>(kLockstep * wanted, "sae.candidates");
  candidate_indices = Array<int32_t>(kLockstep * wanted, "sae.candidates");
  candidate_stride = wanted;
  zc = Array<float>(round_up(k, kLanes), "sae.token_gradient");
  g = Array<float>(round_up(k, kLanes), "sae.token_gradient");
  dot_work = Array<float>(round_up(k, kLanes) * kLanes, "sae.dots");
}

int64_t TileWorkspace::size_bytes() const {
  return xs.size_bytes() + xc.size_bytes() + r.size_bytes() + nonzero_columns.size_bytes() +
         nonzero_values.size_bytes() + nonzero_starts.size_bytes() + column_sums.size_bytes() +
         p.size_bytes() + group_maxima.size_bytes() + masks.size_bytes() + selection.size_bytes() +
         aux_selection.size_bytes() + candidate_values.size_bytes() + candidate_indices.size_bytes() +
         zc.size_bytes() + g.size_bytes() + dot_work.size_bytes() + gradient.size_bytes() +
         gradient_dec.size_bytes();
}

LoadedTile load_tile(const SaeKernels& kernels, const SaeLayout& layout, View<const float, 2> x, float scale,
                     const float* b_pre, float* column_sums, TileWorkspace& work) {
  const int64_t rows = x.shape[0], padded_rows = round_up(rows, kTokenGroup);
  const LoadedTile loaded =
      kernels.load_tile({x.data, x.stride[0], x.stride[1], rows, layout.d, layout.d_padded, scale, b_pre,
                         work.xs.data(), work.xc.data(), layout.x_stride, column_sums});
  std::fill(work.xs.data() + rows * layout.x_stride, work.xs.data() + padded_rows * layout.x_stride, 0.0F);
  work.sparse = kernels.list_nonzeros != nullptr &&
                static_cast<double>(loaded.nonzeros) <= kSparseShare * static_cast<double>(rows * layout.d);
  if (work.sparse) kernels.list_nonzeros(work.xs.data(), layout.x_stride, rows, layout.d, work.nonzeros);
  return loaded;
}

NumericFlags encode_topk(const SaeKernels& kernels, const Panels& panels, const SaeLayout& layout,
                         int64_t rows, bool surely_finite, TileWorkspace& work, SelectionBuffer& buffer,
                         int64_t k) {
  const int64_t padded_rows = round_up(rows, kTokenGroup);
  Selection selection = buffer.view();
  selection.k = k;
  std::fill_n(selection.counts, layout.tile, 0);
  std::fill_n(selection.thresholds, layout.tile, 0.0F);
  NumericFlags flags;
  for (int64_t first = 0; first < panels.count; first += kChunkPanels) {
    const bool first_chunk = first == 0;
    const int64_t count = std::min(kChunkPanels, panels.count - first);
    const EncodeChunk chunk{work.xs.data(),
                            layout.x_stride,
                            work.sparse ? &work.nonzeros : nullptr,
                            work.sparse ? rows : padded_rows,
                            layout.d,
                            panels.weights + first * layout.d * kPanel,
                            panels.bias + first * kPanel,
                            count,
                            work.p.data(),
                            first_chunk ? work.group_maxima.data() : nullptr,
                            selection.thresholds,
                            work.masks.data(),
                            panels.prefetch};
    kernels.encode_chunk(chunk);
    if (!surely_finite && replace_nan(chunk, rows, panels.latents - first * kPanel)) flags.nan = true;
    kernels.select_chunk({rows, first * kPanel, count * kPanel, work.p.data(), chunk.group_maxima,
                          first_chunk ? nullptr : work.masks.data(), selection, work.candidate_values.data(),
                          work.candidate_indices.data(), work.candidate_stride});
  }
  if (!surely_finite) flags.inf = selected_infinity(buffer, rows);
  return flags;
}

}  // namespace branchsae::cpu
