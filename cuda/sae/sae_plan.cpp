#include "cuda/sae/sae_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "cuda/sae/encode_topk.h"
#include "cuda/sae/gather_tokens.h"
#include "cuda/sae/gradient_plan.h"
#include "engine/error.h"

namespace branchsae::cuda {
namespace {

constexpr int64_t kMostCount = (int64_t{1} << 31) - 1;  // of what kernels count in 32 bits

int32_t round_up(int64_t value, int32_t multiple) {
  return static_cast<int32_t>((value + multiple - 1) / multiple * multiple);
}

double mebibytes(int64_t bytes) {
  return static_cast<double>(bytes) / (1024.0 * 1024.0);
}

Precision precision_of(SaePrecision precision) {
  switch (precision) {
    case SaePrecision::kF32:
      return Precision::kF32;
    case SaePrecision::kTf32:
      return Precision::kTf32;
    case SaePrecision::kBf16:
      return Precision::kBf16;
  }
  throw InputError("an autoencoder's precision must be fp32, tf32 or bf16");
}

void check_counts(const SaeSpec& spec) {
  check_spec(spec);
  const int64_t most = kMostCount - kRowPadding;
  if (spec.max_batch > most / (spec.k + spec.aux_k)) {
    throw InputError(
        fmt::format("batch {} with k = {} and auxk = {} has more than {} pairs; use a smaller --batch",
                    spec.max_batch, spec.k, spec.aux_k, most));
  }
  if (spec.n > most || spec.d > most) {
    throw InputError(
        fmt::format("an autoencoder of {} x {} is too large for the CUDA kernels", spec.n, spec.d));
  }
}

SaeDesc sizes_of(const SaeSpec& spec) {
  SaeDesc sae{};
  sae.d = static_cast<int32_t>(spec.d);
  sae.d_padded = round_up(spec.d, kChannelPadding);
  sae.slices = round_up(spec.d, kSlice) / kSlice;
  sae.n = static_cast<int32_t>(spec.n);
  sae.n_padded = round_up(spec.n, kLatentPadding);
  sae.k = static_cast<int32_t>(spec.k);
  sae.aux_k = static_cast<int32_t>(spec.aux_k);
  sae.max_batch = static_cast<int32_t>(spec.max_batch);
  sae.rows_padded = round_up(spec.max_batch, kRowPadding);
  sae.tied = spec.tied ? 1 : 0;
  sae.unit_norm = spec.unit_norm ? 1 : 0;
  sae.precision = precision_of(spec.precision);
  sae.scale = 1.0F;
  return sae;
}

// Bf16 is a type of kernels, 16 bits wide.
Bf16* take_rounded(Workspace& workspace, int64_t count) {
  return reinterpret_cast<Bf16*>(workspace.take<uint16_t>(count, "weights"));
}

void plan_parameters(SaeDesc& sae, Workspace& workspace) {
  const int64_t weights = int64_t{sae.n_padded} * sae.d_padded;
  const bool tied = sae.tied != 0, rounded = sae.precision == Precision::kBf16;
  sae.w = workspace.take<float>(weights, "weights");
  sae.w_dec = tied ? sae.w : workspace.take<float>(weights, "weights");
  if (rounded) {
    sae.w16 = take_rounded(workspace, weights);
    sae.w16_dec = tied ? sae.w16 : take_rounded(workspace, weights);
  }
  sae.b_enc = workspace.take<float>(sae.n_padded, "weights");
  sae.b_pre = workspace.take<float>(sae.d_padded, "weights");
  sae.m_w = workspace.take<float>(weights, "moments");
  sae.v_w = workspace.take<float>(weights, "moments");
  if (!tied) {
    sae.m_w_dec = workspace.take<float>(weights, "moments");
    sae.v_w_dec = workspace.take<float>(weights, "moments");
  }
  sae.m_b_enc = workspace.take<float>(sae.n_padded, "moments");
  sae.v_b_enc = workspace.take<float>(sae.n_padded, "moments");
  sae.m_b_pre = workspace.take<float>(sae.d_padded, "moments");
  sae.v_b_pre = workspace.take<float>(sae.d_padded, "moments");
  sae.last_fired = workspace.take<int64_t>(sae.n, "moments");
}

void plan_selections(SaePlan& plan, Workspace& workspace) {
  SaeDesc& sae = plan.training;
  // Evaluation may ask for any k up to n; it then takes fewer tokens at once.
  plan.selection_slots = std::max(int64_t{sae.max_batch} * sae.k, int64_t{sae.n});
  sae.values = workspace.take<float>(plan.selection_slots, "batch");
  sae.indices = workspace.take<int32_t>(plan.selection_slots, "batch");
  if (sae.aux_k == 0) return;
  sae.dead = workspace.take<int32_t>(sae.n, "batch");
  sae.aux_values = workspace.take<float>(int64_t{sae.max_batch} * sae.aux_k, "batch");
  sae.aux_indices = workspace.take<int32_t>(int64_t{sae.max_batch} * sae.aux_k, "batch");
}

}  // namespace

SaePlan plan_sae(const SaeSpec& spec, Workspace& workspace) {
  check_counts(spec);
  SaePlan plan;
  plan.training = sizes_of(spec);
  SaeDesc& sae = plan.training;
  plan_parameters(sae, workspace);
  sae.batch = workspace.take<SaeBatch>(1, "batch");
  sae.state = workspace.take<SaeState>(1, "batch");
  plan_gather_tokens(sae, workspace);
  plan_selections(plan, workspace);
  plan_encode(sae, workspace);
  plan_gradient(sae, workspace);
  plan.inference = sae;
  plan.inference.batch = workspace.take<SaeBatch>(1, "batch");
  plan.inference.state = workspace.take<SaeState>(1, "batch");
  plan.evaluation = plan_evaluation(sae, workspace);
  plan.fault = workspace.take<uint32_t>(1, "batch");
  return plan;
}

std::string no_room_message(const SaeSpec& spec, const Workspace& workspace, std::string_view device,
                            std::optional<int64_t> free_bytes) {
  std::string parts;
  for (const auto& [category, bytes] : workspace.bytes_by_category())
    parts += fmt::format("{}{} {:.1f}", parts.empty() ? "" : ", ", category, mebibytes(bytes));
  SaeSpec smaller = spec;
  std::string advice = "train fewer --tap at a time or use a smaller --expansion";
  while (free_bytes && smaller.max_batch > 1) {
    smaller.max_batch = (smaller.max_batch + 1) / 2;
    Workspace needed;
    plan_sae(smaller, needed);
    if (needed.size_bytes() > *free_bytes) continue;
    advice = fmt::format("--batch {} would fit, or train fewer --tap at a time", smaller.max_batch);
    break;
  }
  const std::string free = free_bytes ? fmt::format(", {:.1f} MiB are free", mebibytes(*free_bytes)) : "";
  return fmt::format(
      "out of memory on {}: an autoencoder of {} x {} with batch {} needs {:.1f} MiB ({}){}; {}", device,
      spec.n, spec.d, spec.max_batch, mebibytes(workspace.size_bytes()), parts, free, advice);
}

}  // namespace branchsae::cuda
