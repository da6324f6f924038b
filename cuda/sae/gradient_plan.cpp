#include "cuda/sae/gradient_plan.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <limits>
#include <string>

#include "cuda/error.h"
#include "cuda/sae/decode_grad.h"
#include "cuda/sae/workspace.h"
#include "engine/error.h"

namespace branchsae::cuda {
namespace {

constexpr int32_t kTileRows = 256;  // groups in shared memory are a multiple
constexpr int32_t kMaxSortTiles =
    64;  // of one section, when groups do not need more: pair_counts has a row each

int64_t divide_up(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

int64_t attribute(cudaDeviceAttr which) {
  int device = 0, value = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&value, which, device), "cudaDeviceGetAttribute");
  return value;
}

int64_t element_bytes(const SaeDesc& sae) {
  return sae.precision == Precision::kBf16 ? 2 : 4;
}

// As many rows as shared memory takes; fewer when there would be fewer blocks than multiprocessors.
int32_t tile_rows(const SaeDesc& sae, const GradientOptions& options) {
  const int64_t fit = options.smem_bytes / (2 * kSlice * element_bytes(sae)) / kTileRows * kTileRows;
  const int64_t blocks = divide_up(options.multiprocessors, sae.slices);
  const int64_t spread = divide_up(divide_up(sae.max_batch, blocks), kTileRows) * kTileRows;
  return static_cast<int32_t>(std::min(fit, spread));
}

// Microseconds that the two schemes of dW take for each channel of d, by the bandwidths (bytes a microsecond)
// of an H100's shared memory, L2 and HBM: a model (kernels.md, section 3), not measured.
bool tile_is_faster(const SaeDesc& sae, const GradientOptions& options, int32_t rows) {
  constexpr double kSmem = 29e6, kL2 = 5.5e6, kHbm = 3.0e6;
  const auto n = static_cast<double>(sae.n), pairs = static_cast<double>(sae.max_batch) * sae.k;
  const auto bytes = 2.0 * static_cast<double>(element_bytes(sae));  // of e and xc
  const auto groups = static_cast<double>(divide_up(sae.max_batch, rows));
  const double busy = std::min(1.0, groups * sae.slices / static_cast<double>(options.multiprocessors));
  const double partial_rows = groups * std::min(n, static_cast<double>(rows) * sae.k);
  const double tile = pairs * bytes / (kSmem * busy) + 2 * 4 * partial_rows / kHbm;
  const double gather = pairs * bytes / kL2 + 2 * 4 * n / kHbm;
  return tile <= gather;
}

int32_t group_size(const SaeDesc& sae, GradientOptions options) {
  using Scheme = GradientOptions::Scheme;
  if (options.scheme == Scheme::kGather) return 0;
  if (options.smem_bytes == 0) options.smem_bytes = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  if (options.multiprocessors == 0)
    options.multiprocessors = static_cast<int32_t>(attribute(cudaDevAttrMultiProcessorCount));
  const int32_t rows = options.dw_rows > 0 ? options.dw_rows : tile_rows(sae, options);
  if (options.scheme == Scheme::kTile) return rows;
  return rows > 0 && tile_is_faster(sae, options, rows) ? rows : 0;
}

void take_forward(SaeDesc& sae, Workspace& workspace) {
  const int64_t elements = ex_rows(sae) * sae.slices * 2 * kSlice;
  sae.ex = sae.precision == Precision::kBf16 ? static_cast<void*>(workspace.take<uint16_t>(elements, "batch"))
                                             : static_cast<void*>(workspace.take<float>(elements, "batch"));
  sae.pair_g = workspace.take<float>(int64_t{sae.max_batch} * sae.k, "batch");
  sae.aux_pair_g =
      sae.aux_k > 0 ? workspace.take<float>(int64_t{sae.max_batch} * sae.aux_k, "batch") : nullptr;
  sae.tile_sums = workspace.take<TileSums>(sum_tiles(sae), "sums");
  sae.tile_error_sums = workspace.take<float>(int64_t{sum_tiles(sae)} * sae.d_padded, "sums");
  sae.encoder_sums = workspace.take<float>(int64_t{sae.adam_blocks} * sae.d_padded, "sums");
  sae.variance_sums = workspace.take<double>(divide_up(sae.d_padded, 32), "sums");
  sae.step_sums = workspace.take<StepSums>(1, "sums");
}

void take_pairs(SaeDesc& sae, Workspace& workspace) {
  const int64_t n = sae.n, groups = sae.groups, sections = sae.aux_k > 0 ? 2 : 1;
  sae.pair_counts = workspace.take<int32_t>(sections * sae.sort_tiles * n, "pairs");
  sae.pair_starts = workspace.take<int32_t>(groups * n, "pairs");
  sae.chunk_counts = workspace.take<int32_t>(groups * divide_up(n, kScanLatents), "pairs");
  sae.pair_begin = workspace.take<int32_t>(groups * (n + 1), "pairs");
  sae.pairs = workspace.take<Pair>(int64_t{sae.max_batch} * (sae.k + sae.aux_k), "pairs");
}

void take_rows(SaeDesc& sae, Workspace& workspace) {
  const int64_t rows = int64_t{sae.groups} * sae.n, width = int64_t{sae.slices} * kSlice;
  const int64_t cuts = sae.dw_rows == 0 ? dw_cuts(sae) : 0;
  sae.dw = workspace.take<float>(rows * width, "gradients");
  sae.dw_dec = sae.tied != 0 ? nullptr : workspace.take<float>(rows * width, "gradients");
  sae.db_enc = workspace.take<float>(rows, "gradients");
  sae.carry = cuts == 0 ? nullptr : workspace.take<float>(cuts * width, "gradients");
  sae.carry_dec = cuts == 0 || sae.tied != 0 ? nullptr : workspace.take<float>(cuts * width, "gradients");
  sae.carry_db = cuts == 0 ? nullptr : workspace.take<float>(cuts, "gradients");
}

}  // namespace

void plan_gradient_sizes(SaeDesc& sae, const GradientOptions& options) {
  sae.dw_rows = group_size(sae, options);
  const int64_t rows = sae.max_batch;
  sae.sort_rows = kTileRows;
  if (sae.dw_rows == 0)
    sae.sort_rows = static_cast<int32_t>(kTileRows * divide_up(rows, int64_t{kTileRows} * kMaxSortTiles));
  sae.sort_tiles = static_cast<int32_t>(divide_up(rows, sae.sort_rows));
  sae.main_groups = sae.dw_rows == 0 ? 1 : static_cast<int32_t>(divide_up(rows, sae.dw_rows));
  sae.groups = sae.main_groups * (sae.aux_k > 0 ? 2 : 1);
  sae.adam_latents = sae.n <= 65'536 ? 16 : kMaxAdamLatents;
  sae.adam_blocks = static_cast<int32_t>(divide_up(sae.n, sae.adam_latents));
}

void plan_gradient(SaeDesc& sae, Workspace& workspace, const GradientOptions& options) {
  const int64_t pairs = int64_t{sae.max_batch} * (int64_t{sae.k} + sae.aux_k);
  if (pairs > std::numeric_limits<int32_t>::max() / 2) {
    throw InputError("a batch of " + std::to_string(sae.max_batch) + " tokens with " +
                     std::to_string(sae.k + sae.aux_k) +
                     " latents each has more than 2^30 pairs; use a smaller batch");
  }
  const int64_t needed = decode_grad_smem(decode_grad_variant(sae).channels);
  const int64_t smem =
      options.smem_bytes > 0 ? options.smem_bytes : attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  if (needed > smem) {
    throw InputError("an autoencoder of " + std::to_string(sae.d) + " channels needs " +
                     std::to_string(needed) + " bytes of shared memory; this device has " +
                     std::to_string(smem) + " a block");
  }
  plan_gradient_sizes(sae, options);
  take_forward(sae, workspace);
  take_pairs(sae, workspace);
  take_rows(sae, workspace);
}

int32_t sum_tiles(const SaeDesc& sae) {
  return static_cast<int32_t>(divide_up(sae.max_batch, kSumRows));
}

int32_t dw_cuts(const SaeDesc& sae) {
  return static_cast<int32_t>(divide_up(int64_t{sae.max_batch} * sae.k, kDwPairs) +
                              divide_up(int64_t{sae.max_batch} * sae.aux_k, kDwPairs));
}

int64_t ex_rows(const SaeDesc& sae) {
  return int64_t{sae.rows_padded} * (sae.aux_k > 0 ? 2 : 1);
}

}  // namespace branchsae::cuda
