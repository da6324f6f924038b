#pragma once
// The selection beside a product: a warp's candidates for the k largest of each of its 16 rows.
// A quad of lanes holds a row as mma.sync and wgmma lay accumulators out: lane 4g + t has columns 2t, 2t + 1
// of every 8, of rows g and g + 8. Each lane appends what exceeds its row's threshold to kSlots slots of its
// own in shared memory: no atomics, no barrier, an order that is always the same. When a lane's slots run
// out, the warp compacts all its rows.
//
// Exact: a threshold rises only to a value that at least k stored candidates exceed (or, among ties, that k
// candidates of lower index reach), so nothing that is dropped or not stored can be among the k largest.
// Later columns have higher indices, so that they lose ties: they must be strictly above. Survivors may equal
// the threshold: the next search begins one bit pattern below it.
//
// Values are compared as bit patterns of positive floats, which are ordered like the floats. NaNs are stored
// as candidates ("not <="), so that the compaction sees, flags and drops them.
//
// Order    ties go to the lower index; what is kept does not depend on the order of threads
#include "cuda/arch/smem.cuh"
#include "cuda/arch/warp.cuh"
#include "cuda/sae/sae_desc.h"

namespace branchsae::cuda {

constexpr int kWarpRows = 16;   // rows of a warp
constexpr int kQuad = 4;        // lanes of a row
constexpr int kGroupSlots = 4;  // slots that 16 columns may take
constexpr int kSlack = 12;      // candidates above k that a compaction may leave
constexpr int kGuesses = 8;     // search steps by interpolation; bisection follows
constexpr int32_t kInfinityBits = 0x7f800000;

BRANCHSAE_DEVICE int32_t quad_sum(int32_t value) {
  value += shuffle_xor(value, 1);
  return value + shuffle_xor(value, 2);
}
BRANCHSAE_DEVICE int32_t quad_max(int32_t value) {
  value = max(value, shuffle_xor(value, 1));
  return max(value, shuffle_xor(value, 2));
}

/// Candidates of one row that a lane has in registers. Empty ones have bits 0, which no search counts.
template <int kSlots>
struct HeldCandidates {
  int32_t bits[kSlots];
  int32_t index[kSlots];

  /// Of this lane. The sign of a difference is cheaper than a comparison and a choice.
  BRANCHSAE_DEVICE int32_t count_own_above(int32_t low) const {
    uint32_t count[2] = {};
#pragma unroll
    for (int i = 0; i < kSlots; ++i) count[i % 2] += static_cast<uint32_t>(low - bits[i]) >> 31;
    return static_cast<int32_t>(count[0] + count[1]);
  }
  /// Of the quad.
  BRANCHSAE_DEVICE int32_t count_above(int32_t low) const {
    return quad_sum(count_own_above(low));
  }
  BRANCHSAE_DEVICE int32_t count_ties(int32_t tie, int32_t last) const {
    int32_t count = 0;
#pragma unroll
    for (int i = 0; i < kSlots; ++i) count += bits[i] == tie && index[i] <= last ? 1 : 0;
    return quad_sum(count);
  }
  BRANCHSAE_DEVICE void drop_ties_beyond(int32_t tie, int32_t last) {
#pragma unroll
    for (int i = 0; i < kSlots; ++i) bits[i] = bits[i] == tie && index[i] > last ? 0 : bits[i];
  }
};

/// Where the k-th largest of a quad's candidates lies: `above_low` >= k exceed `low`, `above_high` < k exceed
/// `high`.
struct Bracket {
  int32_t low, high, above_low, above_high;
  BRANCHSAE_DEVICE bool open(int32_t most) const { return above_low > most && high - low > 1; }

  /// A bit pattern strictly between, where interpolation expects `wanted` above.
  BRANCHSAE_DEVICE int32_t guess(int32_t wanted) const {
    const float part = approximate_quotient(static_cast<float>(above_low - wanted),
                                            static_cast<float>(above_low - above_high));
    const float from = as_float(static_cast<uint32_t>(low)), to = as_float(static_cast<uint32_t>(high));
    const auto middle = static_cast<int32_t>(as_uint(fma(part, to - from, from)));
    return min(max(middle, low + 1), high - 1);
  }
  BRANCHSAE_DEVICE int32_t middle() const { return low + (high - low) / 2; }
};

/// Narrows until at most `most` >= k candidates exceed `low`, or `high` is the k-th largest and ties remain.
template <int kSlots>
BRANCHSAE_DEVICE void narrow(Bracket& bracket, const HeldCandidates<kSlots>& held, int32_t k, int32_t most) {
  for (int step = 0; any(bracket.open(most)); ++step) {
    const bool open = bracket.open(most);
    int32_t middle = step < kGuesses ? bracket.guess((k + most) / 2) : bracket.middle();
    middle = open ? middle : bracket.low;
    const int32_t above = held.count_above(middle);
    if (open && above >= k) bracket.low = middle;
    if (open && above >= k) bracket.above_low = above;
    if (open && above < k) bracket.high = middle;
    if (open && above < k) bracket.above_high = above;
  }
}

/// The index up to which ties at bracket.high fill the k places.
template <int kSlots>
BRANCHSAE_DEVICE int32_t last_tie(const Bracket& bracket, const HeldCandidates<kSlots>& held, int32_t k,
                                  bool tied) {
  const int32_t wanted = k - bracket.above_high;
  int32_t low = -1, high = 0x7ffffffe;  // too few up to low, enough up to high
  while (any(tied && high - low > 1)) {
    const int32_t middle = low + (high - low) / 2;
    const bool enough = held.count_ties(bracket.high, middle) >= wanted;
    if (high - low > 1) (enough ? high : low) = middle;
  }
  return high;
}

/// Sorts kHeld keys of each lane, ascending over lane + 32 * place; bitonic.
template <int kHeld>
BRANCHSAE_DEVICE void sort_over_warp(uint32_t (&keys)[kHeld]) {
#pragma unroll
  for (int size = 2; size <= kWarp * kHeld; size *= 2) {
#pragma unroll
    for (int stride = size / 2; stride > 0; stride /= 2) {
      uint32_t before[kHeld];
#pragma unroll
      for (int i = 0; i < kHeld; ++i) before[i] = keys[i];
#pragma unroll
      for (int i = 0; i < kHeld; ++i) {
        const int at = lane_id() + kWarp * i;
        const uint32_t other =
            stride < kWarp ? shuffle_xor(before[i], stride % kWarp) : before[i ^ (stride / kWarp)];
        const bool lower = ((at & size) == 0) == ((at & stride) == 0);
        keys[i] = lower ? min(before[i], other) : max(before[i], other);
      }
    }
  }
}

/// The lists of a warp. kSlots: 24 for k <= 32, 32 for k <= 64 (room for k + kSlack after a compaction, and
/// some to go on with). All members but offer() are collectives of the warp.
template <int kSlots>
class CandidateLists {
 public:
  static constexpr int kRowEntries = kQuad * kSlots + kQuad;  // + kQuad: rows begin in different banks
  static constexpr int kWarpEntries = kWarpRows * kRowEntries;
  static constexpr int kLargestK = kSlots == 24 ? 32 : 64;
  static_assert(kLargestK + kSlack <= kQuad * (kSlots - kGroupSlots));

  /// storage: kWarpEntries of this warp. rows: how many of its rows are real; the others select nothing.
  BRANCHSAE_DEVICE CandidateLists(Smem<uint2> storage, int32_t k, int32_t rows)
      : slots_(storage),
        k_(k),
        first_slot_(lane_id() / kQuad * kRowEntries + lane_id() % kQuad),
        last_(storage, first_slot_ + kQuad * (kSlots - kGroupSlots)) {
    const int row = lane_id() / kQuad;
    const float never = as_float(static_cast<uint32_t>(kInfinityBits));
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      next_[half] = SmemCursor(storage, first_slot_);
      threshold_[half] = row + 8 * half < rows ? 0.0F : never;  // which keeps out all but NaNs
    }
  }

  /// Columns first + 8j + 2t + {0, 1} of rows g and g + 8, j < kTiles; `first` must not fall from call to
  /// call.
  template <int kTiles>
  BRANCHSAE_DEVICE void offer(const float (&sums)[kTiles][4], int32_t first) {
    const int32_t column = first + 2 * (lane_id() % kQuad);
    int done = offer_from<kTiles>(sums, column);
    while (done < kTiles) {
      compact(k_ + kSlack);
      done = offer_from<kTiles>(sums, column, done);
    }
  }

  /// Leaves the k largest, or all if there are fewer, and writes them in ascending index: of the warp's row r
  /// to values, indices[(first_row + r) * k...]. latents: what the columns stand for, or null for themselves.
  BRANCHSAE_DEVICE void finish(float* values, int32_t* indices, int32_t first_row, int32_t rows,
                               const int32_t* latents) {
    compact(k_);
    constexpr int kHeld = kLargestK / kWarp;
#pragma unroll 1
    for (int r = 0; r < kWarpRows; ++r) {
      const int32_t count = shuffle(r < 8 ? total_[0] : total_[1], r % 8 * kQuad);
      const Smem<uint2> row = slots_.part(r * kRowEntries, kRowEntries);
      uint32_t keys[kHeld];
#pragma unroll
      for (int i = 0; i < kHeld; ++i) {
        const int at = lane_id() + kWarp * i;
        keys[i] = at < count ? row.load(at).y * kLargestK + at : 0xffffffffU;
      }
      sort_over_warp(keys);
#pragma unroll
      for (int i = 0; i < kHeld; ++i) {
        const int at = lane_id() + kWarp * i;
        if (r >= rows || at >= k_) continue;
        const bool used = at < count;
        const auto column = static_cast<int32_t>(keys[i] / kLargestK);
        const int64_t slot = static_cast<int64_t>(first_row + r) * k_ + at;
        values[slot] = used ? as_float(row.load(static_cast<int>(keys[i] % kLargestK)).x) : 0.0F;
        indices[slot] = !used ? -1 : latents == nullptr ? column : latents[column];
      }
    }
  }

  /// kSawNan, kSawInf: what this lane met; complete after finish().
  BRANCHSAE_DEVICE uint32_t flags() const {
    return flags_;
  }

 private:
  static constexpr int kHalf = 8 * kRowEntries;  // from row g to row g + 8

  /// Offers tiles from `done` on until a lane's slots might not take the next 16 columns; returns the tiles
  /// done.
  template <int kTiles>
  BRANCHSAE_DEVICE int offer_from(const float (&sums)[kTiles][4], int32_t column, int done = 0) {
#pragma unroll
    for (int j = 0; j < kTiles; j += 2) {
      if (j < done) continue;
      if (any(next_[0].is_beyond(last_) || next_[1].is_beyond(last_))) return j;
      offer_tile(sums[j], column + 8 * j);
      offer_tile(sums[j + 1], column + 8 * j + 8);
    }
    return kTiles;
  }
  BRANCHSAE_DEVICE void offer_tile(const float (&sums)[4], int32_t column) {
    const auto word = static_cast<uint32_t>(column);
    next_[0].append_above<0, kQuad>(sums[0], threshold_[0], word);
    next_[1].append_above<kHalf, kQuad>(sums[2], threshold_[1], word);
    next_[0].append_above<0, kQuad>(sums[1], threshold_[0], word + 1);
    next_[1].append_above<kHalf, kQuad>(sums[3], threshold_[1], word + 1);
  }

  /// Leaves at most `most` >= k of each row, spread evenly over its lanes.
  BRANCHSAE_DEVICE void compact(int32_t most) {
    sync_warp();
#pragma unroll 1
    for (int turn = 0; turn < 2; ++turn) {
      compact_row(turn, most);
      // The other half's turn; after two turns each is back.
      swap(next_[0], next_[1]);
      swap(threshold_[0], threshold_[1]);
      swap(total_[0], total_[1]);
    }
    sync_warp();
  }
  template <class T>
  BRANCHSAE_DEVICE static void swap(T& a, T& b) {
    const T old = a;
    a = b;
    b = old;
  }

  /// The row that has its turn: state in next_[0], threshold_[0], total_[0].
  BRANCHSAE_DEVICE void compact_row(int half, int32_t most) {
    HeldCandidates<kSlots> held;
    const SmemCursor begin(slots_, first_slot_);
    int32_t count = next_[0].since(begin) / kQuad;
    const int32_t top = take(held, first_slot_ + half * kHalf, count);
    const auto low = static_cast<int32_t>(as_uint(threshold_[0])) - 1;
    Bracket bracket{max(low, 0), top, 0, 0};
    const int32_t all = bracket.above_low = quad_sum(count);
    narrow(bracket, held, k_, most);

    const bool tied = bracket.above_low > most;
    if (any(tied)) {
      const int32_t last = last_tie(bracket, held, k_, tied);
      if (tied) held.drop_ties_beyond(bracket.high, last);
    }
    if (all > most) threshold_[0] = as_float(static_cast<uint32_t>(tied ? bracket.high : bracket.low));
    total_[0] = tied ? k_ : bracket.above_low;
    spread(held, bracket.low, half);
    const int t = lane_id() % kQuad;
    next_[0] = SmemCursor(slots_, first_slot_ + (total_[0] - t + kQuad - 1) / kQuad * kQuad);
  }

  /// Reads a lane's `count` slots; returns the largest bits of the quad. Drops NaNs, also from the count.
  BRANCHSAE_DEVICE int32_t take(HeldCandidates<kSlots>& held, int first, int32_t& count) {
    uint32_t top = 0;
#pragma unroll
    for (int i = 0; i < kSlots; ++i) {
      const uint2 entry = i < count ? slots_.load(first + i * kQuad) : make_uint2(0, 0);
      held.bits[i] = static_cast<int32_t>(entry.x);
      held.index[i] = static_cast<int32_t>(entry.y);
      top = max(top, entry.x);
    }
    if (any(top > static_cast<uint32_t>(kInfinityBits))) top = drop_nans(held, count, as_uint(threshold_[0]));
    if (top == static_cast<uint32_t>(kInfinityBits)) flags_ |= kSawInf;
    return quad_max(static_cast<int32_t>(top));
  }
  /// A row beyond the batch has none to tell of: its zeros times an infinite weight. (A row of the batch has
  /// such a threshold only after kSawInf.)
  BRANCHSAE_DEVICE uint32_t drop_nans(HeldCandidates<kSlots>& held, int32_t& count, uint32_t threshold) {
    const bool real = threshold != static_cast<uint32_t>(kInfinityBits);
    uint32_t top = 0;
#pragma unroll
    for (int i = 0; i < kSlots; ++i) {
      const bool nan = is_nan(as_float(static_cast<uint32_t>(held.bits[i])));
      if (nan && real) flags_ |= kSawNan;
      count -= nan ? 1 : 0;
      held.bits[i] = nan ? 0 : held.bits[i];
      top = max(top, static_cast<uint32_t>(held.bits[i]));
    }
    return top;
  }

  /// Writes what is above `low` back, dealt out to the quad's lanes in turn.
  BRANCHSAE_DEVICE void spread(const HeldCandidates<kSlots>& held, int32_t low, int half) {
    const int32_t mine = held.count_own_above(low);
    const int t = lane_id() % kQuad;
    int32_t place = mine;
    const int32_t one_below = shuffle_up(place, 1, kQuad);
    place += t >= 1 ? one_below : 0;
    const int32_t two_below = shuffle_up(place, 2, kQuad);
    place += t >= 2 ? two_below : 0;
    SmemCursor to(slots_, first_slot_ + half * kHalf - t + place - mine);
    sync_warp();  // all have read
    const float limit = as_float(static_cast<uint32_t>(low));
#pragma unroll
    for (int i = 0; i < kSlots; ++i) {
      to.append_above<0, 1>(as_float(static_cast<uint32_t>(held.bits[i])), limit,
                            static_cast<uint32_t>(held.index[i]));
    }
  }

  Smem<uint2> slots_;
  int32_t k_;
  int first_slot_;         // of row g; those of row g + 8 are kHalf further on, and cursors leave kHalf out
  SmemCursor last_;        // beyond it the slots might not take 16 columns
  SmemCursor next_[2];     // this lane's next slot
  float threshold_[2];     // of rows g and g + 8; what is not above it is not wanted
  int32_t total_[2] = {};  // candidates of the row after the latest compaction
  uint32_t flags_ = 0;
};

}  // namespace branchsae::cuda
