#include "cpu/sae/layout.h"

namespace branchsae::cpu {
namespace {

// A partial gradient beside the weights has to stay in an L2 cache of 1-2 MiB for scattering to pay.
constexpr int64_t kScatterBytes = int64_t{512} << 10;
// One slice of residuals and tokens of a whole batch.
constexpr int64_t kSliceBytes = int64_t{1} << 20;
constexpr int64_t kWidestSlice = 48;

int64_t slice_columns(const SaeSpec& spec, int64_t d_padded) {
  const int64_t rows = spec.max_batch * (spec.aux_k > 0 ? 2 : 1);
  const int64_t fitting = kSliceBytes / (8 * rows) / kLanes * kLanes;
  const int64_t widest = std::clamp(fitting, kLanes, kWidestSlice);
  // Equal slices rather than wide ones and a rest.
  return round_up(divide_up(d_padded, divide_up(d_padded, widest)), kLanes);
}

}  // namespace

SaeLayout::SaeLayout(const SaeSpec& spec) : d(spec.d), n(spec.n) {
  d_padded = round_up(d, kLanes);
  panels = divide_up(n, kPanel);
  tile = d <= 64 ? 48 : 96;
  x_stride = d_padded + kLanes;  // again against rows that collide in L1
  const int64_t gradient_bytes = n * d_padded * 4 * (spec.tied ? 1 : 2);
  scheme = gradient_bytes <= kScatterBytes ? GradientScheme::kScatter : GradientScheme::kSorted;
  // The projection of unit rows needs the whole row of the gradient at once.
  const bool whole_rows = scheme == GradientScheme::kScatter || spec.unit_norm;
  slice = whole_rows ? d_padded : slice_columns(spec, d_padded);
  slices = divide_up(d_padded, slice);
}

}  // namespace branchsae::cpu
