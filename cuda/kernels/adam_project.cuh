#pragma once
// adam_project: sums the partial rows of dW and updates weights, moments, 16-bit copies, b_enc, last_fired;
// sums db_enc W for b_pre.
// Work     reads 4nd for each group with pairs and 12nd, writes 14nd bytes. d=512 n=8192, one group: 126 MB,
//          42 us at 3.0 TB/s. Not measured on a GPU.
// Launch   grid: adam_latents latents a block; block 256, a warp a latent at a time; shared adam_latents x 4 B
// Limits   any n and d; the unit norm reads the partial rows twice
// Order    deterministic: groups in order, carries in order; each weight is one lane's
#include "cuda/arch/smem.cuh"
#include "cuda/arch/warp.cuh"
#include "cuda/kernels/adam.cuh"
#include "cuda/kernels/pair_sections.cuh"
#include "cuda/sae/adam_project.h"
#include "cuda/sae/gradient_plan.h"

namespace branchsae::cuda {

constexpr int kAdamWarps = 8;

/// Pairs of a latent in 32 groups, one a lane, from `first` on.
struct GroupLists {
  int32_t begin, end;  ///< relative to the group's first pair
  uint32_t used;       ///< lanes whose group has pairs
};

BRANCHSAE_DEVICE GroupLists group_lists(const SaeDesc& sae, int32_t latent, int32_t first) {
  GroupLists lists{0, 0, 0};
  const int32_t group = first + lane_id();
  if (group < sae.groups) {
    const GroupRows rows = group_rows(sae, group);
    const int32_t* begins = sae.pair_begin + static_cast<int64_t>(group) * (sae.n + 1) + latent;
    const int32_t base = group_base(sae, rows);
    if (rows.count > 0) lists.begin = begins[0] - base, lists.end = begins[1] - base;
  }
  lists.used = ballot(lists.begin < lists.end);
  return lists;
}

/// Calls f(row, carry) for each partial row of a latent, in order; in all lanes. lists: of the first groups.
template <class F>
BRANCHSAE_DEVICE void for_each_partial(const SaeDesc& sae, int32_t latent, GroupLists lists, F f) {
  for (int32_t first = 0;;) {
    for (uint32_t used = lists.used; used != 0; used &= used - 1) {
      const int place = lowest_bit(used);
      const int32_t group = first + place;
      f(static_cast<int64_t>(group) * sae.n + latent, false);
      if (sae.dw_rows > 0) continue;
      const int32_t begin = shuffle(lists.begin, place), end = shuffle(lists.end, place);
      const int32_t main_cuts = (sae.max_batch * sae.k + kDwPairs - 1) / kDwPairs;
      const int64_t first_cut = group < sae.main_groups ? 0 : main_cuts;
      for (int32_t cut = begin / kDwPairs + 1; cut * kDwPairs < end; ++cut) f(first_cut + cut, true);
    }
    first += kWarp;
    if (first >= sae.groups) return;
    lists = group_lists(sae, latent, first);
  }
}

/// In the main pass.
BRANCHSAE_DEVICE bool has_fired(const SaeDesc& sae, int32_t latent, GroupLists lists) {
  for (int32_t first = 0;;) {
    const int32_t main = sae.main_groups - first;
    if ((main >= kWarp ? lists.used : lists.used & ((1U << main) - 1)) != 0) return true;
    first += kWarp;
    if (first >= sae.main_groups) return false;
    lists = group_lists(sae, latent, first);
  }
}

BRANCHSAE_DEVICE float4 load_floats(const float* from) {
  return *reinterpret_cast<const float4*>(from);
}
BRANCHSAE_DEVICE void store_floats(float* to, float4 value) {
  *reinterpret_cast<float4*>(to) = value;
}
BRANCHSAE_DEVICE double dot(float4 a, float4 b, double sum) {
  sum = fma(static_cast<double>(a.x), static_cast<double>(b.x), sum);
  sum = fma(static_cast<double>(a.y), static_cast<double>(b.y), sum);
  sum = fma(static_cast<double>(a.z), static_cast<double>(b.z), sum);
  return fma(static_cast<double>(a.w), static_cast<double>(b.w), sum);
}

/// One matrix of weights and what belongs to it.
struct WeightRows {
  const float *partial, *carry;
  float *w, *m, *v, *gradient;
  Bf16* w16;
  bool unit;
};

BRANCHSAE_DEVICE WeightRows weight_rows(const SaeDesc& sae, const GradientArrays& gradients, bool decoder) {
  if (decoder) {
    return {sae.dw_dec,  sae.carry_dec,   sae.w_dec,   sae.m_w_dec,
            sae.v_w_dec, gradients.w_dec, sae.w16_dec, sae.unit_norm != 0};
  }
  return {sae.dw,  sae.carry,   sae.w,   sae.m_w,
          sae.v_w, gradients.w, sae.w16, sae.unit_norm != 0 && sae.tied != 0};
}

/// Of four channels of a latent.
BRANCHSAE_DEVICE float4 sum_gradient(const SaeDesc& sae, const WeightRows& rows, int32_t latent,
                                     const GroupLists& lists, int32_t channel) {
  const int64_t stride = static_cast<int64_t>(sae.slices) * kSlice;
  float4 sum = make_float4(0, 0, 0, 0);
  const bool inside = channel < sae.d_padded;
  for_each_partial(sae, latent, lists, [&](int64_t row, bool carry) {
    if (!inside) return;
    const float4 part = load_floats((carry ? rows.carry : rows.partial) + row * stride + channel);
    sum.x += part.x, sum.y += part.y, sum.z += part.z, sum.w += part.w;
  });
  return sum;
}

/// The raw gradient, without padding.
BRANCHSAE_DEVICE void store_gradient(const SaeDesc& sae, const WeightRows& rows, int32_t latent) {
  const GroupLists lists = group_lists(sae, latent, 0);
  for (int32_t base = 0; base < sae.d_padded; base += 4 * kWarp) {
    const int32_t channel = base + 4 * lane_id();
    const float4 sum = sum_gradient(sae, rows, latent, lists, channel);
    float* target = rows.gradient + static_cast<int64_t>(latent) * sae.d + channel;
    if (channel < sae.d) target[0] = sum.x;
    if (channel + 1 < sae.d) target[1] = sum.y;
    if (channel + 2 < sae.d) target[2] = sum.z;
    if (channel + 3 < sae.d) target[3] = sum.w;
  }
}

/// dW . W of a latent: what the gradient has along a unit row.
BRANCHSAE_DEVICE float gradient_along(const SaeDesc& sae, const WeightRows& rows, int32_t latent,
                                      const GroupLists& lists) {
  double sum = 0;
  for (int32_t base = 0; base < sae.d_padded; base += 4 * kWarp) {
    const int32_t channel = base + 4 * lane_id();
    const float4 gradient = sum_gradient(sae, rows, latent, lists, channel);
    if (channel < sae.d_padded)
      sum = dot(gradient, load_floats(rows.w + static_cast<int64_t>(latent) * sae.d_padded + channel), sum);
  }
  return static_cast<float>(warp_sum(sum));
}

BRANCHSAE_DEVICE float4 scaled(float factor, float4 a) {
  return make_float4(factor * a.x, factor * a.y, factor * a.z, factor * a.w);
}

BRANCHSAE_DEVICE void store_weights(const WeightRows& rows, int64_t at, float4 w) {
  store_floats(rows.w + at, w);
  if (rows.w16 != nullptr)
    *reinterpret_cast<uint2*>(rows.w16 + at) = make_uint2(pack_bf16(w.x, w.y), pack_bf16(w.z, w.w));
}

BRANCHSAE_DEVICE void update_row(const SaeDesc& sae, const AdamNumbers& adam, const WeightRows& rows,
                                 int32_t latent) {
  const int64_t offset = static_cast<int64_t>(latent) * sae.d_padded;
  const GroupLists lists = group_lists(sae, latent, 0);
  const float along = rows.unit ? gradient_along(sae, rows, latent, lists) : 0.0F;
  const float4 zero = make_float4(0, 0, 0, 0);
  double squares = 0;
  for (int32_t base = 0; base < sae.d_padded; base += 4 * kWarp) {
    const int32_t channel = base + 4 * lane_id();
    const int64_t at = offset + channel;
    const bool inside = channel < sae.d_padded;
    float4 w = zero, m = zero, v = zero;
    if (inside) w = load_floats(rows.w + at), m = load_floats(rows.m + at), v = load_floats(rows.v + at);
    float4 gradient = sum_gradient(sae, rows, latent, lists, channel);  // while those are on their way
    if (!inside) continue;
    if (rows.unit) {
      const float4 drop = scaled(along, w);
      gradient.x -= drop.x, gradient.y -= drop.y, gradient.z -= drop.z, gradient.w -= drop.w;
    }
    adam.apply(gradient, w, m, v);
    store_floats(rows.m + at, m);
    store_floats(rows.v + at, v);
    store_weights(rows, at, w);
    if (rows.unit) squares = dot(w, w, squares);
  }
  if (!rows.unit) return;
  squares = warp_sum(squares);
  if (!(squares > 0)) return;  // a zero row has no direction to keep
  const float factor = divide(1.0F, square_root(static_cast<float>(squares)));
  for (int32_t channel = 4 * lane_id(); channel < sae.d_padded; channel += 4 * kWarp)
    store_weights(rows, offset + channel, scaled(factor, load_floats(rows.w + offset + channel)));
}

/// db_enc of a latent, in all lanes; updates its bias and last_fired, or writes the gradient.
BRANCHSAE_DEVICE float bias_gradient(const SaeDesc& sae, const AdamNumbers& adam, int32_t latent,
                                     float* gradient) {
  const GroupLists lists = group_lists(sae, latent, 0);
  const bool fired = has_fired(sae, latent, lists);
  float sum = 0;
  for_each_partial(sae, latent, lists,
                   [&](int64_t row, bool carry) { sum += (carry ? sae.carry_db : sae.db_enc)[row]; });
  if (lane_id() != 0) return sum;
  if (gradient != nullptr) {
    gradient[latent] = sum;
    return sum;
  }
  adam.apply(sum, sae.b_enc[latent], sae.m_b_enc[latent], sae.v_b_enc[latent]);
  if (fired) sae.last_fired[latent] = sae.state->tokens_seen + sae.batch->rows;
  return sum;
}

/// sum over the block's latents of db_enc W, with W as it was.
BRANCHSAE_DEVICE void sum_encoder(const SaeDesc& sae, int32_t block, int32_t first, int32_t count,
                                  const Smem<float>& db) {
  const int32_t width = sae.d_padded;
  for (int32_t j = static_cast<int32_t>(threadIdx.x); j < width; j += kAdamWarps * kWarp) {
    const float* w = sae.w + static_cast<int64_t>(first) * width + j;
    float sum = 0;
#pragma unroll 8
    for (int32_t i = 0; i < count; ++i) sum = fma(db.load(i), w[static_cast<int64_t>(i) * width], sum);
    sae.encoder_sums[static_cast<int64_t>(block) * width + j] = sum;
  }
}

__global__ void __launch_bounds__(kAdamWarps* kWarp, 3)
    adam_project_kernel(const SaeDesc* saes, WorkList work, GradientArrays gradients) {
  const WorkItem item = work.items[blockIdx.x];
  const SaeDesc& sae = saes[item.sae];
  const bool updating = gradients.b_enc == nullptr;
  if (updating && (sae.state->bad_step != 0 || sae.batch->error_only != 0)) return;
  const AdamNumbers adam(*sae.batch);
  const int32_t first = item.tile * sae.adam_latents, rest = sae.n - first;
  const int32_t count = rest < sae.adam_latents ? rest : sae.adam_latents;
  SmemArena arena;
  auto db = arena.take<float>(kMaxAdamLatents);
  for (int32_t i = warp_id(); i < count; i += kAdamWarps) {
    const float sum = bias_gradient(sae, adam, first + i, gradients.b_enc);
    if (lane_id() == 0) db.store(i, sum);
  }
  sync_block();
  sum_encoder(sae, item.tile, first, count, db);
  sync_block();  // W is still read until here
  for (int matrix = 0; matrix < (sae.tied != 0 ? 1 : 2); ++matrix) {
    const WeightRows rows = weight_rows(sae, gradients, matrix == 1);
    for (int32_t i = warp_id(); i < count; i += kAdamWarps) {
      if (updating) {
        update_row(sae, adam, rows, first + i);
      } else {
        store_gradient(sae, rows, first + i);
      }
    }
  }
}

}  // namespace branchsae::cuda
