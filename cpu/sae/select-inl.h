// Exact selection of the k largest pre-activations. Included once for each instruction set.
//
// First chunk: the maxima of 64 groups of latents give a value that at least k of them exceed, so no latent
// at or below it can be selected. What exceeds it is compressed into a short list, and bisection on the bit
// patterns of positive floats, which are ordered like the floats, narrows the list to exactly k. Later chunks
// add what exceeds the k-th value so far. Four tokens go in lockstep, without branches on data, to hide the
// latency of a bisection.
#if defined(BRANCHSAE_CPU_SAE_SELECT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BRANCHSAE_CPU_SAE_SELECT_INL_H_
#undef BRANCHSAE_CPU_SAE_SELECT_INL_H_
#else
#define BRANCHSAE_CPU_SAE_SELECT_INL_H_
#endif

#include <bit>

#include "cpu/sae/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace branchsae::cpu::HWY_NAMESPACE {

constexpr int kTokens = static_cast<int>(kLockstep);
// Lists up to this length are bisected in lockstep.
constexpr int64_t kShortList = 64;

// Candidates of up to four tokens. A value's count above `low` is at least k, above `high` less than k.
struct Candidates {
  float* values[kTokens];
  int32_t* indices[kTokens];
  int32_t counts[kTokens];
  int32_t low[kTokens], high[kTokens];  // bit patterns
  bool changed[kTokens];
};

HWY_INLINE int32_t count_above(const float* HWY_RESTRICT values, int64_t count, int32_t threshold) {
  const D d;
  const V limit = hn::Set(d, std::bit_cast<float>(threshold));
  size_t above = 0;
  for (int64_t i = 0; i < count; i += kN) above += hn::CountTrue(d, hn::Gt(hn::Load(d, values + i), limit));
  return static_cast<int32_t>(above);
}

// One step of bisection; exactly k above ends it with low = high. No branches: they would be mispredicted.
HWY_INLINE void bisect(const float* values, int64_t count, int32_t k, int32_t& low, int32_t& high) {
  const int32_t middle = low + ((high - low) >> 1);
  const int32_t above = count_above(values, count, middle);
  const int32_t enough = -static_cast<int32_t>(above >= k), few_or_exact = -static_cast<int32_t>(above <= k);
  low = (middle & enough) | (low & ~enough);
  high = (middle & few_or_exact) | (high & ~few_or_exact);
}

// A strict threshold that at least k of the 64 group maxima exceed, 0 if fewer are positive; also their
// maximum.
HWY_INLINE void bound_tokens(const float* HWY_RESTRICT maxima, int tokens, int32_t k, Candidates& c) {
  const D d;
  constexpr int kSteps = 7;
  constexpr int32_t kOctaves = 8 << 23;  // where the k-th of the maxima nearly always is
  int32_t low[kTokens] = {}, high[kTokens] = {};
  for (int q = 0; q < tokens; ++q) {
    V most = hn::Load(d, maxima + q * kPanel);
    for (int64_t i = kN; i < kPanel; i += kN) most = hn::Max(most, hn::Load(d, maxima + q * kPanel + i));
    const float top = hn::GetLane(hn::MaxOfLanes(d, most));
    c.high[q] = high[q] = top > 0 ? std::bit_cast<int32_t>(top) : 0;
    const int32_t start = std::max(high[q] - kOctaves, 0);
    low[q] = count_above(maxima + q * kPanel, kPanel, start) >= k ? start : 0;
  }
  if (k <= kFastK) {
    for (int step = 0; step < kSteps; ++step) {
      for (int q = 0; q < kTokens; ++q) {
        const float* mine = maxima + (q < tokens ? q : 0) * kPanel;
        bisect(mine, kPanel, k, low[q], high[q]);
      }
    }
  }
  for (int q = 0; q < tokens; ++q) c.low[q] = low[q];
}

// Columns above the bound, compressed. Stores whole vectors: compress-store to memory is slow on some
// processors.
HWY_INLINE int32_t filter_row(const float* HWY_RESTRICT p, int64_t columns, int32_t bound,
                              int32_t* HWY_RESTRICT indices) {
  const D d;
  const DI di;
  const V limit = hn::Set(d, std::bit_cast<float>(bound));
  VI column = hn::Iota(di, 0);
  const VI step = hn::Set(di, kN);
  int64_t count = 0;
  for (int64_t c = 0; c < columns; c += kN) {
    const Mask above = hn::Gt(hn::Load(d, p + c), limit);
    hn::StoreU(hn::Compress(column, hn::RebindMask(di, above)), di, indices + count);
    count += static_cast<int64_t>(hn::CountTrue(d, above));
    column = hn::Add(column, step);
  }
  return static_cast<int32_t>(count);
}

// values[i] = p[indices[i]], zero from `count` up to kShortList or the next whole vector.
HWY_INLINE void gather_values(const float* HWY_RESTRICT p, int32_t* HWY_RESTRICT indices, int64_t count,
                              float* HWY_RESTRICT values) {
  const D d;
  const DI di;
  int64_t i = 0;
  for (; i < count; i += kN) {
    const auto real = hn::FirstN(d, static_cast<size_t>(count - i));
    const VI columns = hn::IfThenElseZero(hn::RebindMask(di, real), hn::LoadU(di, indices + i));
    hn::Store(hn::IfThenElseZero(real, hn::GatherIndex(d, p, columns)), d, values + i);
  }
  for (; i < kShortList; i += kN) hn::Store(hn::Zero(d), d, values + i);
}

HWY_INLINE void fill_first(const SelectChunk& a, int64_t row, int tokens, Candidates& c) {
  bound_tokens(a.group_maxima + row * kPanel, tokens, static_cast<int32_t>(a.selection.k), c);
  for (int q = 0; q < tokens; ++q) {
    c.counts[q] = filter_row(a.p + (row + q) * kTileStride, a.columns, c.low[q], c.indices[q]);
    c.changed[q] = true;
  }
  // A second loop: reading back what was just stored would wait for the stores.
  for (int q = 0; q < tokens; ++q)
    gather_values(a.p + (row + q) * kTileStride, c.indices[q], c.counts[q], c.values[q]);
}

// What is kept so far, then what exceeds the threshold: in ascending index.
HWY_INLINE void append_row(const SelectChunk& a, int64_t row, int q, Candidates& c) {
  const D d;
  const DI di;
  const Selection& s = a.selection;
  const uint64_t* masks = a.masks + row * kChunkPanels;
  const int64_t words = a.columns / kPanel;
  uint64_t any = 0;
  for (int64_t w = 0; w < words; ++w) any |= masks[w];
  c.changed[q] = any != 0;
  c.counts[q] = s.counts[row];
  c.low[q] = c.high[q] = 0;
  if (any == 0) return;
  int64_t count = s.counts[row];
  for (int64_t i = 0; i < count; i += kN) {
    hn::Store(hn::Load(d, s.values + row * s.stride + i), d, c.values[q] + i);
    hn::Store(hn::Load(di, s.indices + row * s.stride + i), di, c.indices[q] + i);
  }
  const float* p = a.p + row * kTileStride;
  float top = s.maxima[row];
  for (int64_t w = 0; w < words; ++w) {
    for (uint64_t bits = masks[w]; bits != 0; bits &= bits - 1) {
      const int64_t column = w * kPanel + std::countr_zero(bits);
      c.values[q][count] = p[column];
      c.indices[q][count++] = static_cast<int32_t>(a.first_latent + column);
      top = std::max(top, p[column]);
    }
  }
  for (int64_t i = count; i < std::max(kShortList, count + 1); i += kN)
    hn::StoreU(hn::Zero(d), d, c.values[q] + i);
  c.counts[q] = static_cast<int32_t>(count);
  // Kept values may equal the threshold, so `low` is one bit pattern below it.
  c.low[q] = std::max(std::bit_cast<int32_t>(s.thresholds[row]) - 1, 0);
  c.high[q] = std::bit_cast<int32_t>(top);
}

// Ties at the k-th value: `above` is less than k, and the lowest indices among the equal ones fill up.
void keep_with_ties(const Candidates& c, int q, int32_t k, float* values, int32_t* indices) {
  const float tie = std::bit_cast<float>(c.high[q]);
  int32_t above = 0, kept = 0;
  for (int32_t i = 0; i < c.counts[q]; ++i) above += c.values[q][i] > tie ? 1 : 0;
  int32_t equal = k - above;
  for (int32_t i = 0; i < c.counts[q]; ++i) {
    const float value = c.values[q][i];
    if (!(value > tie) && !(value == tie && equal-- > 0)) continue;
    values[kept] = value;
    indices[kept++] = c.indices[q][i];
  }
}

// Writes the candidates above `low`.
HWY_INLINE void keep_above(const Candidates& c, int q, float* HWY_RESTRICT values,
                           int32_t* HWY_RESTRICT indices) {
  const D d;
  const DI di;
  const V limit = hn::Set(d, std::bit_cast<float>(c.low[q]));
  int64_t kept = 0;
  for (int64_t i = 0; i < c.counts[q]; i += kN) {
    const V value = hn::Load(d, c.values[q] + i);
    const Mask above = hn::Gt(value, limit);
    hn::StoreU(hn::Compress(value, above), d, values + kept);
    hn::StoreU(hn::Compress(hn::Load(di, c.indices[q] + i), hn::RebindMask(di, above)), di, indices + kept);
    kept += static_cast<int64_t>(hn::CountTrue(d, above));
  }
}

HWY_INLINE void write_token(const SelectChunk& a, int64_t row, int q, const Candidates& c, int32_t top) {
  const Selection& s = a.selection;
  const auto k = static_cast<int32_t>(s.k);
  float* values = s.values + row * s.stride;
  s.maxima[row] = std::bit_cast<float>(top);
  if (c.counts[q] < k) {
    keep_above(c, q, values, s.indices + row * s.stride);
    s.counts[row] = c.counts[q];
    s.thresholds[row] = 0;
    return;
  }
  s.counts[row] = k;
  if (c.high[q] == c.low[q]) {
    keep_above(c, q, values, s.indices + row * s.stride);
    s.thresholds[row] = std::bit_cast<float>(c.low[q]);
  } else {
    keep_with_ties(c, q, k, values, s.indices + row * s.stride);
    s.thresholds[row] = std::bit_cast<float>(c.high[q]);
  }
}

// Bisects until exactly k are above `low`, or `high` is the k-th value and occurs more than once.
HWY_INLINE void narrow(Candidates& c, int tokens, int32_t k) {
  bool all_short = true;
  for (int q = 0; q < kTokens; ++q) {
    const bool keep_all = q >= tokens || !c.changed[q] || c.counts[q] <= k;
    if (keep_all) c.low[q] = c.high[q] = 0;
    all_short = all_short && (keep_all || c.counts[q] <= kShortList);
  }
  if (all_short) {
    int32_t open = 1;
    while (open > 0) {
      open = 0;
      for (int q = 0; q < kTokens; ++q) {
        bisect(c.values[q], kShortList, k, c.low[q], c.high[q]);
        open |= static_cast<int32_t>(c.high[q] - c.low[q] > 1);
      }
    }
    return;
  }
  for (int q = 0; q < tokens; ++q) {
    while (c.high[q] - c.low[q] > 1) bisect(c.values[q], c.counts[q], k, c.low[q], c.high[q]);
  }
}

void select_chunk(const SelectChunk& a) {
  Candidates c;
  for (int q = 0; q < kTokens; ++q) {
    c.values[q] = a.candidate_values + q * a.candidate_stride;
    c.indices[q] = a.candidate_indices + q * a.candidate_stride;
    c.counts[q] = 0;
  }
  for (int64_t row = 0; row < a.rows; row += kLockstep) {
    const int tokens = static_cast<int>(std::min(kLockstep, a.rows - row));
    if (a.group_maxima != nullptr) {
      fill_first(a, row, tokens, c);
    } else {
      for (int q = 0; q < tokens; ++q) append_row(a, row + q, q, c);
    }
    int32_t top[kTokens] = {};
    std::copy_n(c.high, tokens, top);
    narrow(c, tokens, static_cast<int32_t>(a.selection.k));
    for (int q = 0; q < tokens; ++q) {
      if (c.changed[q]) write_token(a, row + q, q, c, top[q]);
    }
  }
}

}  // namespace branchsae::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
