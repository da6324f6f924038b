#include "cpu/sae/layout.h"

namespace branchsae::cpu {
namespace {

// A partial gradient beside the weights has to stay in an L2 cache of 1-2 MiB for scattering to pay.
constexpr int64_t kScatterBytes = int64_t{512} << 10;
// Of residual and token in registers.
constexpr int64_t kWidestSlice = 64;
// One slice of the gradients of a range of latents: beside what streams by, it has to stay in an L2 cache.
constexpr int64_t kRangeBytes = int64_t{128} << 10;

// Equal slices rather than wide ones and a rest.
int64_t slice_columns(int64_t d_padded) {
  return round_up(divide_up(d_padded, divide_up(d_padded, kWidestSlice)), kLanes);
}

}  // namespace

SaeLayout::SaeLayout(const SaeSpec& spec) : d(spec.d), n(spec.n) {
  d_padded = round_up(d, kLanes);
  panels = divide_up(n, kPanel);
  tile = d <= 128 ? 48 : 96;
  chunk_panels = panels <= kChunkPanels ? panels : kChunkPanels / 2;
  key_stride = chunk_panels * kPanel + 32;
  x_stride = d_padded + kLanes;  // again against rows that collide in L1
  const int64_t gradient_bytes = n * d_padded * 4 * (spec.tied ? 1 : 2);
  scheme = gradient_bytes <= kScatterBytes ? GradientScheme::kScatter : GradientScheme::kRanges;
  // The projection of unit rows needs the whole row of the gradient at once.
  const bool whole_rows = scheme == GradientScheme::kScatter || spec.unit_norm;
  slice = whole_rows ? d_padded : slice_columns(d_padded);
  slices = divide_up(d_padded, slice);
  const int64_t row_bytes = slice * 4 * (spec.tied ? 1 : 2);
  range = std::min(std::max(kRangeBytes / row_bytes / kPanel, int64_t{1}) * kPanel, n_padded());
  if (scheme == GradientScheme::kScatter) range = kPanel;
  ranges = divide_up(n, range);
  halves = scheme == GradientScheme::kRanges && n <= spec.max_batch;
}

}  // namespace branchsae::cpu
