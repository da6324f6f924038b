#pragma once
// decode_grad: r = sum z W_dec - x, the loss, e = error_factor r, g = W_dec . e of every pair; AuxK on the
// same r.
// Work     4Bkd FLOP and 8Bd; reads B k rows of W (L1 and L2) and 2Bd of x, writes 4Bd of ex (bf16).
//          B=65536 d=128 k=32 bf16: 537 MB of rows, 98 us at 5.5 TB/s of L2. Not measured on a GPU.
// Launch   grid: a row tile of kSumRows tokens a block; a warp a token, kDecodeWarps a block (kWideDecodeWarps
//          when d is large); shared: channels x 4 B for each warp
// Limits   any d and k; kHeld: k <= 32, rows stay in registers; else they are read twice, the second time from
//          L1 as long as it lasts; channels >= d_padded
// Order    deterministic: fixed order in each lane, fixed trees over lanes, warps in order
//
// A row is read in pieces of 128 bytes by 8 lanes; the warp's four teams of 8 take slots 4j + team. Pieces of
// channels are independent but for g, which is summed over them, so any d takes the same registers. A copy of
// W in shared memory, where it would fit, is left to the L1 cache.
#include "cuda/arch/smem.cuh"
#include "cuda/kernels/pair_sections.cuh"
#include "cuda/kernels/row_vector.cuh"

namespace branchsae::cuda {

constexpr int kDecodeWarps = 8;
constexpr int kWideDecodeWarps = 2;  // of a block when d is large, for room in shared memory
constexpr int kTeam = 8;             // lanes of a team
constexpr int kTeams = kWarp / kTeam;
constexpr int kHeldRows = 8;                     // rows of a team that stay in registers
constexpr int kGroupSlots = kHeldRows * kTeams;  // slots whose g are summed at once, one a lane

/// The selection of one token.
struct Slots {
  const int32_t* indices;
  const float* values;
  float* g;
  int32_t k;

  BRANCHSAE_DEVICE int32_t latent(int slot) const { return slot < k ? indices[slot] : -1; }
};

/// One piece of channels of one lane: where it lies in rows of W and x.
struct Piece {
  int32_t channel;
  bool inside;  ///< of d_padded
};

template <class T>
BRANCHSAE_DEVICE uint4 load_piece(const T* rows, int64_t row, int32_t width, const Piece& piece) {
  if (row < 0 || !piece.inside) return make_uint4(0, 0, 0, 0);
  return load_vector(rows + row * width + piece.channel);
}

/// Sums over the four teams; every lane gets them.
template <int kCount>
BRANCHSAE_DEVICE void sum_teams(float (&v)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    v[i] += shuffle_xor(v[i], 8);
    v[i] += shuffle_xor(v[i], 16);
  }
}

template <int kCount>
BRANCHSAE_DEVICE void add_row(uint4 row, float z, float (&sum)[kCount]) {
  float w[kCount];
  unpack(row, w);
#pragma unroll
  for (int i = 0; i < kCount; ++i) sum[i] = fma(z, w[i], sum[i]);
}
template <int kCount>
BRANCHSAE_DEVICE float dot_row(uint4 row, const float (&e)[kCount]) {
  float w[kCount], sum = 0;
  unpack(row, w);
#pragma unroll
  for (int i = 0; i < kCount; ++i) sum = fma(w[i], e[i], sum);
  return sum;
}
/// dots[j] of a team's 8 lanes, summed: lane j of the team gets that of j.
BRANCHSAE_DEVICE float spread_dots(float (&dots)[8]) {
  add_halves<8>(dots, 4);
  add_halves<4>(dots, 2);
  add_halves<2>(dots, 1);
  return dots[0];
}
/// Of the slots first .. first + kGroupSlots: the one whose g this lane gets.
BRANCHSAE_DEVICE int own_slot(int first) {
  return first + lane_id() % kTeam * kTeams + lane_id() / kTeam;
}

/// Adds z W_dec of all slots in this lane's channels to what the teams hold, and sums over the teams.
template <class T>
BRANCHSAE_DEVICE void add_slots(const Slots& slots, const T* w, int32_t width, const Piece& piece,
                                float (&sum)[kVector<T>]) {
  for (int first = 0; first < slots.k; first += kTeams) {
    const int slot = first + lane_id() / kTeam;
    const int32_t latent = slots.latent(slot);
    if (latent >= 0) add_row(load_piece(w, latent, width, piece), slots.values[slot], sum);
  }
  sum_teams(sum);
}

/// Adds W_dec . e over this piece to g of all slots; the first piece starts them. A slot's g is one lane's
/// own.
template <class T>
BRANCHSAE_DEVICE void dot_slots(const Slots& slots, const T* w, int32_t width, const Piece& piece, bool start,
                                const float (&e)[kVector<T>]) {
  for (int first = 0; first < slots.k; first += kGroupSlots) {
    float dots[8];
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      const int32_t latent = slots.latent(first + j * kTeams + lane_id() / kTeam);
      dots[j] = dot_row(load_piece(w, latent, width, piece), e);
    }
    const float g = spread_dots(dots);
    const int slot = own_slot(first);
    if (slot < slots.k) slots.g[slot] = start ? g : slots.g[slot] + g;
  }
}

/// e = factor r, and sum r^2 where team 0 holds it.
template <int kCount>
BRANCHSAE_DEVICE float scale_error(const float (&r)[kCount], float factor, float (&e)[kCount]) {
  float squares = 0;
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    e[i] = factor * r[i];
    squares = fma(r[i], r[i], squares);
  }
  return lane_id() < kTeam ? squares : 0.0F;
}

/// One lane's part of a token's sums.
struct TokenSums {
  float squared_error = 0, aux_error = 0;
};

/// What a warp knows of its token; the rest it reads from the description again, to save registers.
template <class T>
struct DecodeToken {
  const SaeDesc& sae;
  const T* w;
  int32_t token, width;
  bool aux;

  BRANCHSAE_DEVICE Slots slots() const {
    const int64_t at = static_cast<int64_t>(token) * sae.k;
    return {sae.indices + at, sae.values + at, sae.pair_g + at, sae.k};
  }
  BRANCHSAE_DEVICE Slots aux_slots() const {
    const int64_t at = static_cast<int64_t>(token) * sae.aux_k;
    return {sae.aux_indices + at, sae.aux_values + at, sae.aux_pair_g + at, sae.aux_k};
  }
};

/// Writes e (team 0) and x (team 1) of this lane's channels to a row of ex.
template <class T>
BRANCHSAE_DEVICE void store_ex(const DecodeToken<T>& t, int64_t row, int32_t channel, uint4 e, uint4 x) {
  const int32_t slice = channel / kSlice;
  const int team = lane_id() / kTeam;
  if (slice >= t.sae.slices || team > 1) return;
  T* ex = static_cast<T*>(t.sae.ex);
  store_vector(ex + ((row * t.sae.slices + slice) * 2 + team) * kSlice + channel % kSlice, team == 0 ? e : x);
}

/// r of the main pass becomes AuxK's.
template <class T>
BRANCHSAE_DEVICE void aux_piece(const DecodeToken<T>& t, const Piece& piece, uint4 x, float (&r)[kVector<T>],
                                TokenSums& sums) {
  const Slots slots = t.aux_slots();
#pragma unroll
  for (int i = 0; i < kVector<T>; ++i) r[i] = lane_id() < kTeam ? r[i] : 0.0F;
  add_slots(slots, t.w, t.width, piece, r);
  float e[kVector<T>];
  sums.aux_error += scale_error(r, t.sae.batch->aux_error_factor, e);
  store_ex(t, static_cast<int64_t>(t.sae.rows_padded) + t.token, piece.channel, pack(e), x);
  dot_slots(slots, t.w, t.width, piece, piece.channel < kTeam * kVector<T>, e);
}

/// A token's slots when there are at most 32: lane l knows slot l.
struct HeldSlots {
  int32_t latent;
  float z, g = 0;  ///< g: of own_slot(0), over the pieces so far

  BRANCHSAE_DEVICE explicit HeldSlots(const Slots& slots) {
    latent = slots.latent(lane_id());
    z = latent >= 0 ? slots.values[lane_id()] : 0.0F;
  }
  /// Adds sum z W_dec to what the teams hold, and sums over the teams; the rows stay in `rows`.
  template <class T>
  BRANCHSAE_DEVICE void decode(const DecodeToken<T>& t, const Piece& piece, uint4 (&rows)[kHeldRows],
                               float (&r)[kVector<T>]) const {
#pragma unroll
    for (int j = 0; j < kHeldRows; ++j)
      rows[j] = load_piece(t.w, shuffle(latent, j * kTeams + lane_id() / kTeam), t.width, piece);
#pragma unroll
    for (int j = 0; j < kHeldRows; ++j) add_row(rows[j], shuffle(z, j * kTeams + lane_id() / kTeam), r);
    sum_teams(r);
  }
  template <int kCount>
  BRANCHSAE_DEVICE void add_dots(const uint4 (&rows)[kHeldRows], const float (&e)[kCount]) {
    float dots[kHeldRows];
#pragma unroll
    for (int j = 0; j < kHeldRows; ++j) dots[j] = dot_row(rows[j], e);
    g += spread_dots(dots);
  }
  BRANCHSAE_DEVICE void store(const Slots& slots) const {
    if (own_slot(0) < slots.k) slots.g[own_slot(0)] = g;
  }
};

/// Adds this lane's e to the warp's sums of its tile.
template <int kCount>
BRANCHSAE_DEVICE void add_errors(Smem<float> sums, const Piece& piece, const float (&e)[kCount]) {
  if (lane_id() >= kTeam || !piece.inside) return;
#pragma unroll
  for (int i = 0; i < kCount; i += 4) {
    const float4 old = sums.load_as<float4>(piece.channel + i);
    sums.store_as<float4>(piece.channel + i,
                          make_float4(old.x + e[i], old.y + e[i + 1], old.z + e[i + 2], old.w + e[i + 3]));
  }
}

template <class T, bool kHeld>
BRANCHSAE_DEVICE TokenSums decode_token(const DecodeToken<T>& t, Smem<float> error_sums) {
  constexpr int kCount = kVector<T>;
  TokenSums sums;
  HeldSlots held(t.slots());
  for (int32_t base = 0; base < t.sae.slices * kSlice; base += kTeam * kCount) {
    const int32_t channel = base + lane_id() % kTeam * kCount;
    const Piece piece{channel, channel < t.width};
    const uint4 x = load_piece(static_cast<const T*>(t.sae.x), t.token, t.width, piece);
    float r[kCount], e[kCount];
    unpack(x, r);
#pragma unroll
    for (int i = 0; i < kCount; ++i) r[i] = lane_id() < kTeam ? -r[i] : 0.0F;
    if constexpr (kHeld) {
      uint4 rows[kHeldRows];
      held.decode(t, piece, rows, r);
      sums.squared_error += scale_error(r, t.sae.batch->error_factor, e);
      held.add_dots(rows, e);
    } else {
      add_slots(t.slots(), t.w, t.width, piece, r);
      sums.squared_error += scale_error(r, t.sae.batch->error_factor, e);
      dot_slots(t.slots(), t.w, t.width, piece, base == 0, e);
    }
    store_ex(t, t.token, channel, pack(e), x);
    add_errors(error_sums, piece, e);
    if (t.aux) aux_piece(t, piece, x, r, sums);
  }
  if constexpr (kHeld) held.store(t.slots());
  return sums;
}

/// This lane's part of the number of used slots.
BRANCHSAE_DEVICE int32_t count_used(const Slots& slots) {
  int32_t used = 0;
  for (int slot = lane_id(); slot < slots.k; slot += kWarp) used += slots.indices[slot] >= 0 ? 1 : 0;
  return used;
}

template <class T, bool kHeld>
__global__ void __launch_bounds__(kDecodeWarps* kWarp, 2)
    decode_grad_kernel(const SaeDesc* saes, WorkList work, int32_t channels) {
  const WorkItem item = work.items[blockIdx.x];
  const SaeDesc& sae = saes[item.sae];
  const int32_t rows = sae.batch->rows, width = sae.d_padded;
  if (item.tile * kSumRows >= rows) return;
  const void* w =
      sizeof(T) == 2 ? static_cast<const void*>(sae.w16_dec) : static_cast<const void*>(sae.w_dec);
  const bool aux = aux_runs(sae);
  const int32_t warp_count = static_cast<int32_t>(blockDim.x) / kWarp, tokens = kSumRows / warp_count;
  SmemArena arena;
  auto sums = arena.take<float>(warp_count * channels);
  auto warps = arena.take<double>(3 * warp_count);
  Smem<float> own = sums.part(warp_id() * channels, channels);
  for (int32_t j = 4 * lane_id(); j < width; j += 4 * kWarp) own.store_as<float4>(j, make_float4(0, 0, 0, 0));
  sync_warp();

  double squared_error = 0, aux_error = 0;
  int32_t active = 0;
  const int32_t first = item.tile * kSumRows + warp_id() * tokens;
  for (int32_t token = first; token < first + tokens && token < rows; ++token) {
    const DecodeToken<T> t{sae, static_cast<const T*>(w), token, width, aux};
    const TokenSums token_sums = decode_token<T, kHeld>(t, own);
    squared_error += static_cast<double>(token_sums.squared_error);
    aux_error += static_cast<double>(token_sums.aux_error);
    active += count_used(t.slots());
  }
  squared_error = warp_sum(squared_error);
  aux_error = warp_sum(aux_error);
  active = warp_sum(active);
  if (lane_id() == 0) {
    warps.store(3 * warp_id(), squared_error);
    warps.store(3 * warp_id() + 1, aux_error);
    warps.store(3 * warp_id() + 2, active);
  }
  sync_block();
  for (int32_t j = static_cast<int32_t>(threadIdx.x); j < width; j += warp_count * kWarp) {
    float sum = 0;
    for (int warp = 0; warp < warp_count; ++warp) sum += sums.load(warp * channels + j);
    sae.tile_error_sums[static_cast<int64_t>(item.tile) * width + j] = sum;
  }
  if (threadIdx.x != 0) return;
  TileSums total{};
  for (int warp = 0; warp < warp_count; ++warp) {
    total.squared_error += warps.load(3 * warp);
    total.aux_error += warps.load(3 * warp + 1);
    total.active += static_cast<int64_t>(warps.load(3 * warp + 2));
  }
  sae.tile_sums[item.tile] = total;
}

}  // namespace branchsae::cuda
