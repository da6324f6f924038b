#include "cpu/sae/tile.h"

#include <algorithm>
#include <cmath>

namespace branchsae::cpu {
namespace {

// Columns of a block of the sparse encode: fewer would keep the weights of two panels in an L1 cache, but the
// sums would be loaded and stored more often, which costs more (measured at 32 to 528 columns).
constexpr int64_t kSparseColumns = 128;
// Up to this share of nonzeros the sparse encode in fixed point is the faster one at every width (measured at
// 64 and 512 columns, 31 to 38 % nonzero). Both give the same bits, so the choice is free for every tile.
constexpr double kSparseShare = 0.5;

// Candidates beyond 2 k that a token may have between chunks; with more, every latent is scored.
constexpr int64_t kSpareCandidates = 96;
// When one token in so many has too many candidates in a bf16 tile, so many tiles after it are done in fp32.
constexpr int64_t kTolerated = 16, kTilesInFp32 = 256;
// Beyond these sizes of weights and pre-activations their fixed point would leave single precision.
constexpr double kSmallestFixed = 1e-15, kLargestFixed = 1e15;

}  // namespace

SelectionBuffer::SelectionBuffer(int64_t rows, int64_t k) {
  const int64_t stride = round_up(k, kLanes) + kLanes;
  values_ = Array<float>(rows * stride, "sae.selected_values");
  indices_ = Array<int32_t>(rows * stride, "sae.selected_indices");
  counts_ = Array<int32_t>(rows, "sae.selected_counts");
  view_ = {k, stride, values_.data(), indices_.data(), counts_.data()};
}

int64_t SelectionBuffer::size_bytes() const {
  return values_.size_bytes() + indices_.size_bytes() + counts_.size_bytes();
}

CandidateBuffer::CandidateBuffer(int64_t rows, int64_t k) : k_(k) {
  constexpr int64_t kAlign = 32;  // keys in a line
  const int64_t capacity = 2 * k + kSpareCandidates, stride = round_up(capacity, kAlign);
  const int64_t work_stride = round_up(capacity + kChunk + 4 * kLanes, kAlign);
  thresholds_ = Array<float>(rows, "sae.candidates");
  counts_ = Array<int32_t>(rows, "sae.candidates");
  keys_ = Array<Key>(rows * stride, "sae.candidates");
  positions_ = Array<int32_t>(rows * stride, "sae.candidates");
  candidates_ = {capacity, stride, keys_.data(), positions_.data(), counts_.data(), thresholds_.data()};
  values_ = Array<float>(kLockstep * work_stride, "sae.candidates");
  indices_ = Array<int32_t>(kLockstep * work_stride, "sae.candidates");
  work_keys_ = Array<Key>(kLockstep * work_stride, "sae.candidates");
  work_ = {work_stride, values_.data(), indices_.data(), work_keys_.data()};
}

int64_t CandidateBuffer::size_bytes() const {
  return thresholds_.size_bytes() + counts_.size_bytes() + keys_.size_bytes() + positions_.size_bytes() +
         values_.size_bytes() + indices_.size_bytes() + work_keys_.size_bytes();
}

TileWorkspace::TileWorkspace(const SaeLayout& layout, int64_t k, int64_t aux_k, bool tied, bool bf16) {
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
  if (bf16) pair_stride = layout.d_padded / 2 + kLanes;
  fixed_values = Array<uint32_t>(blocks * block_stride, "sae.nonzeros");
  fixed_units = Array<float>(layout.tile, "sae.nonzeros");
  fixed_token_factors = Array<float>(layout.tile, "sae.nonzeros");
  fixed_bias_factors = Array<Fixed>(layout.tile, "sae.nonzeros");
  pairs = Array<uint32_t>(layout.tile * pair_stride, "sae.tile_pairs");
  squares = Array<float>(layout.tile, "sae.tile_norms");
  roundings = Array<float>(layout.tile, "sae.tile_norms");
  errors = Array<float>(layout.tile, "sae.tile_norms");
  keys = Array<Key>(layout.tile * layout.key_stride, "sae.tile_keys");
  group_maxima = Array<Key>(layout.tile * kPanel, "sae.group_maxima");
  masks = Array<uint64_t>(layout.tile * kChunkPanels, "sae.masks");
  sums = Array<float>(layout.tile * kSumStride, "sae.tile_sums");
  gradient = Array<float>(layout.range * layout.slice, "sae.gradient_rows");
  if (!tied) gradient_dec = Array<float>(layout.range * layout.slice, "sae.gradient_rows");
  if (aux_k > 0) aux_selection = SelectionBuffer(layout.tile, aux_k);
  selection = SelectionBuffer(layout.tile, k);
  reserve(layout, std::max(k, aux_k));
}

void TileWorkspace::reserve(const SaeLayout& layout, int64_t k) {
  if (selection.k() < k) selection = SelectionBuffer(layout.tile, k);
  if (candidates.k() >= k) return;
  candidates = CandidateBuffer(layout.tile, k);
  zc = Array<float>(round_up(k, kLanes), "sae.token_gradient");
  g = Array<float>(round_up(k, kLanes), "sae.token_gradient");
  dot_work = Array<float>(round_up(k, kLanes) * kLanes, "sae.dots");
}

int64_t TileWorkspace::size_bytes() const {
  int64_t sum = selection.size_bytes() + aux_selection.size_bytes() + candidates.size_bytes();
  for (const Array<float>* array :
       {&xs, &xc, &r, &column_sums, &squares, &roundings, &errors, &sums, &nonzero_values, &fixed_units,
        &fixed_token_factors, &zc, &g, &dot_work, &gradient, &gradient_dec})
    sum += array->size_bytes();
  return sum + pairs.size_bytes() + keys.size_bytes() + group_maxima.size_bytes() + masks.size_bytes() +
         nonzero_columns.size_bytes() + nonzero_starts.size_bytes() + fixed_values.size_bytes() +
         fixed_bias_factors.size_bytes();
}

FixedFactors fixed_factors(double norm, double bias) {
  if (!(norm > kSmallestFixed && norm < kLargestFixed && bias < kLargestFixed)) return {};
  return {static_cast<float>(32767 / norm), static_cast<float>(32767 / std::max(bias, kSmallestFixed))};
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
  work.met_sparse = work.met_sparse || work.sparse;
  if (work.sparse) kernels.list_nonzeros(work.xs.data(), layout.x_stride, rows, layout.d, work.nonzeros);
  const bool rounded = !work.sparse && work.pairs.size() > 0;
  kernels.round_tokens({work.xs.data(), layout.x_stride, rounded ? padded_rows : rows, layout.d_padded,
                        work.squares.data(), rounded ? work.pairs.data() : nullptr, work.pair_stride,
                        work.roundings.data()});
  return loaded;
}

namespace {

enum class Product { kFp32, kBf16, kFixed };

// Of sums of squares in single precision, of numbers that may be too small to have a square there.
double norm_of(float squares, int64_t d) {
  const auto terms = static_cast<double>(d);
  return std::sqrt((static_cast<double>(squares) + terms * 0x1p-126) * (1 + terms * 0x1p-22));
}

// At least |p - u| for every latent of a token, p of the encode, u as scored. With w', x' rounded to bf16,
//   |W_i . x - w' . x'| <= |W_i - w'| |x| + |w'| |x - x'|
// by Cauchy and Schwarz; their products are exact in single precision. Then, in whatever order products and a
// bias are added up, at most two roundings a column of 2^-24 each change what is at most |W_i| |x| + |b_i|:
// twice that for p and u, and again twice for good measure. The last term is for numbers below the normal
// range, which the bf16 instruction takes for zero.
double error_bound(const Panels& panels, const SaeLayout& layout, Product product, double norm,
                   double rounding) {
  const auto columns = static_cast<double>(layout.d + 4);
  const double w = panels.largest_norm, size = w * norm + panels.largest_bias;
  double error = columns * 0x1p-21 * size + columns * 0x1p-118 * (1 + w + norm);
  if (product == Product::kBf16)
    error += panels.largest_rounding * norm + (w + panels.largest_rounding) * rounding;
  return error * 1.0001;
}

// False when a bound is too large to compare with.
bool bound_errors(const Panels& panels, const SaeLayout& layout, Product product, int64_t rows,
                  TileWorkspace& work) {
  constexpr double kLargest = 1e37;
  if (!(panels.largest_norm < kLargest)) return false;
  bool usable = true;
  for (int64_t t = 0; t < rows; ++t) {
    const double rounding = product == Product::kBf16 ? norm_of(work.roundings[t], layout.d) : 0;
    const double error = error_bound(panels, layout, product, norm_of(work.squares[t], layout.d), rounding);
    usable = usable && error < kLargest;
    work.errors[t] = static_cast<float>(error);
  }
  return usable;
}

int64_t count_nonzeros(const NonzeroLists& lists, int64_t row) {
  int64_t count = 0;
  for (int64_t b = 0; b < lists.blocks; ++b) {
    const int32_t* starts = lists.starts + b * lists.starts_stride + row;
    count += starts[1] - starts[0];
  }
  return count;
}

// At least |p - W_i . x - b_i| in keys, of m nonzeros. Each product of the m and of the bias is rounded by up
// to 1/2. Weights, rounded by up to 1/2, meet values of a norm of up to 2^15 (in multiples of 2^-15): sqrt(m)
// / 2 by Cauchy and Schwarz; rounded values meet weights likewise. The bias and its factor give 1/2 each. The
// rest is for single precision on the way to the integers.
double fixed_error(int64_t nonzeros) {
  const auto m = static_cast<double>(nonzeros);
  return 0.5 * (m + 1) + 1.05 * std::sqrt(m) + 1.5;
}

// Fixed point for each token of a sparse tile, as fine as its range allows: |W_i| |x| + |b_i| bounds every
// partial sum. False when a token is too small or too large for it.
bool fix_tokens(const SaeKernels& kernels, const Panels& panels, const SaeLayout& layout, int64_t rows,
                TileWorkspace& work) {
  const FixedFactors& factors = panels.fixed_factors;
  const double range = 32767 - fixed_error(layout.d), one_in_range = 1 / range;
  const double weight = 32768 / static_cast<double>(factors.weight);
  const double bias = 32768 / static_cast<double>(factors.bias);
  for (int64_t t = 0; t < rows; ++t) {
    const double size = panels.largest_norm * norm_of(work.squares[t], layout.d) + panels.largest_bias;
    if (!(size > kSmallestFixed && size < kLargestFixed && range > 0)) return false;
    const double keys_per_one = range / size, unit = size * one_in_range;
    work.fixed_token_factors[t] = static_cast<float>(keys_per_one * weight);
    work.fixed_bias_factors[t] = static_cast<Fixed>(keys_per_one * bias + 0.5);
    work.fixed_units[t] = static_cast<float>(unit);
    work.errors[t] += static_cast<float>(fixed_error(count_nonzeros(work.nonzeros, t)) * unit * 1.0001);
  }
  kernels.fix_tokens({&work.nonzeros, rows, work.fixed_token_factors.data(), work.fixed_values.data()});
  return true;
}

Scoring scoring_of(const Panels& panels, const SaeLayout& layout, const TileWorkspace& work) {
  return {work.xs.data(), layout.x_stride, panels.rows, layout.d_padded, panels.row_bias, panels.map};
}

void encode_panels(const SaeKernels& kernels, const Panels& panels, const SaeLayout& layout, Product product,
                   int64_t rows, int64_t first, int64_t count, const Screen& screen, TileWorkspace& work) {
  const int64_t padded_rows = round_up(rows, kTokenGroup);
  const float* bias = panels.bias + first * kPanel;
  if (product == Product::kFixed) {
    kernels.encode_fixed({&work.nonzeros, work.fixed_values.data(), work.fixed_bias_factors.data(), rows,
                          layout.d, panels.fixed + first * (layout.d + 1) * kPanel, count, screen});
    return;
  }
  if (product == Product::kBf16) {
    const int64_t pairs = divide_up(layout.d, 2);
    kernels.encode_pairs({work.pairs.data(), work.pair_stride, padded_rows, pairs,
                          panels.pairs + first * pairs * kPanel, bias, count, panels.prefetch, screen});
    return;
  }
  kernels.encode_chunk({work.xs.data(), layout.x_stride, work.sparse ? &work.nonzeros : nullptr,
                        work.sparse ? rows : padded_rows, layout.d,
                        panels.weights + first * layout.d * kPanel, bias, count, work.sums.data(),
                        panels.prefetch, screen});
}

// Encodes and selects all chunks; tokens with too many candidates are left with a count of -1.
void screen_tile(const SaeKernels& kernels, const Panels& panels, const SaeLayout& layout, Product product,
                 int64_t rows, const Selection& selection, TileWorkspace& work) {
  const Candidates& candidates = work.candidates.candidates();
  const Scoring scoring = scoring_of(panels, layout, work);
  const int64_t chunk = layout.chunk_panels;
  for (int64_t begin = 0; begin < panels.count; begin += chunk) {
    const bool first = begin == 0, last = begin + chunk >= panels.count;
    const int64_t count = std::min(chunk, panels.count - begin);
    const Screen screen{work.keys.data(),
                        layout.key_stride,
                        first ? work.group_maxima.data() : nullptr,
                        candidates.thresholds,
                        work.masks.data(),
                        product == Product::kFixed ? work.fixed_units.data() : nullptr};
    encode_panels(kernels, panels, layout, product, rows, begin, count, screen, work);
    kernels.select_chunk({rows, begin * kPanel, panels.latents, count * kPanel, first, last, screen,
                          work.errors.data(), candidates, scoring, selection, work.candidates.work(),
                          kernels.list_keys});
  }
}

// Rounding loses too much where many latents are nearly equal: the tile is done again, and the next ones of
// the thread at once, in fp32. What is selected does not depend on it.
bool screen_rounded(const SaeKernels& kernels, const Panels& panels, const SaeLayout& layout, int64_t rows,
                    const Selection& selection, TileWorkspace& work) {
  const Product product = work.sparse ? Product::kFixed : Product::kBf16;
  if (work.sparse ? panels.fixed == nullptr : panels.pairs == nullptr) return false;
  if (work.fp32_tiles > 0) {
    --work.fp32_tiles;
    return false;
  }
  if (!bound_errors(panels, layout, product, rows, work)) return false;
  if (work.sparse && !fix_tokens(kernels, panels, layout, rows, work)) return false;
  screen_tile(kernels, panels, layout, product, rows, selection, work);
  const int64_t missing = std::count(selection.counts, selection.counts + rows, -1);
  if (missing * kTolerated > rows) work.fp32_tiles = kTilesInFp32;
  if (missing == 0) ++(work.sparse ? work.counts.fixed : work.counts.bf16);
  return missing == 0;
}

}  // namespace

NumericFlags encode_topk(const SaeKernels& kernels, const Panels& panels, const SaeLayout& layout,
                         int64_t rows, bool surely_finite, TileWorkspace& work, SelectionBuffer& buffer,
                         int64_t k) {
  Selection selection = buffer.view();
  selection.k = k;
  std::fill_n(selection.counts, rows, -1);
  if (surely_finite && kernels.select_chunk != nullptr) {
    if (screen_rounded(kernels, panels, layout, rows, selection, work)) return {};
    ++(work.sparse ? work.counts.sparse : work.counts.dense);
    if (bound_errors(panels, layout, Product::kFp32, rows, work))
      screen_tile(kernels, panels, layout, Product::kFp32, rows, selection, work);
  }
  NumericFlags flags;
  for (int64_t t = 0; t < rows; ++t) {
    if (selection.counts[t] >= 0) continue;
    ++work.counts.scored_tokens;
    flags.add(kernels.select_all(
        {t, panels.latents, scoring_of(panels, layout, work), selection, work.candidates.work()}));
  }
  return flags;
}

}  // namespace branchsae::cpu
