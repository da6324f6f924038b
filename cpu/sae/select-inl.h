// Screening and exact selection of the k largest pre-activations. Included once for each instruction set.
//
// First chunk: the maxima of 64 groups of latents give a value that at least k of them exceed; whatever is
// not within twice the error bound of it cannot be selected. Later chunks bring what exceeds the threshold so
// far. Bisection on bit patterns, which are ordered like the positive numbers they stand for, finds the k-th
// largest. Four tokens go in lockstep, without branches on data, to hide the latency of a bisection.
#if defined(BRANCHSAE_CPU_SAE_SELECT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BRANCHSAE_CPU_SAE_SELECT_INL_H_
#undef BRANCHSAE_CPU_SAE_SELECT_INL_H_
#else
#define BRANCHSAE_CPU_SAE_SELECT_INL_H_
#endif

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "cpu/sae/score-inl.h"
#include "cpu/sae/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace branchsae::cpu::HWY_NAMESPACE {

constexpr int kTokens = static_cast<int>(kLockstep);
// Lists up to this length are bisected in lockstep, padded with zeros.
constexpr int64_t kShortList = 64;
constexpr int32_t kLargestKey = 0x7fff;

// Lists of up to four tokens. A value's count above `low` is at least k, above `high` less than k.
struct TokenLists {
  float* values[kTokens];
  int32_t* indices[kTokens];
  Key* keys[kTokens];
  int64_t counts[kTokens] = {};
  int32_t low[kTokens] = {}, high[kTokens] = {};  // bit patterns
  float floor[kTokens] = {};                      // k values are expected above, when it is positive
};

HWY_INLINE TokenLists lists_in(const SelectionWork& work) {
  TokenLists lists;
  for (int q = 0; q < kTokens; ++q) {
    lists.values[q] = work.values + q * work.stride;
    lists.indices[q] = work.indices + q * work.stride;
    lists.keys[q] = work.keys + q * work.stride;
  }
  return lists;
}

HWY_INLINE int64_t count_above(const float* HWY_RESTRICT values, int64_t count, int32_t threshold) {
  const D d;
  const V limit = hn::Set(d, std::bit_cast<float>(threshold));
  size_t above = 0;
  for (int64_t i = 0; i < count; i += kN) above += hn::CountTrue(d, hn::Gt(hn::Load(d, values + i), limit));
  return static_cast<int64_t>(above);
}

HWY_INLINE int64_t count_above(const Key* HWY_RESTRICT keys, int64_t count, int32_t threshold) {
  const DK d;
  const VK limit = hn::Set(d, static_cast<Key>(threshold));
  size_t above = 0;
  for (int64_t i = 0; i < count; i += kKeys) above += hn::CountTrue(d, hn::Gt(hn::Load(d, keys + i), limit));
  return static_cast<int64_t>(above);
}

// One step of bisection; exactly k above ends it with low = high. No branches: they would be mispredicted.
template <class T>
HWY_INLINE void bisect(const T* values, int64_t count, int64_t k, int32_t& low, int32_t& high) {
  const int32_t middle = low + ((high - low) >> 1);
  const int64_t above = count_above(values, count, middle);
  const int32_t enough = -static_cast<int32_t>(above >= k), few_or_exact = -static_cast<int32_t>(above <= k);
  low = (middle & enough) | (low & ~enough);
  high = (middle & few_or_exact) | (high & ~few_or_exact);
}

// The strict bound with at least k keys above it that is the highest, or one with exactly k; -1 if fewer than
// k are positive. `count` is the length of the arrays, padding included.
HWY_INLINE void bound_keys(const Key* const* keys, const int64_t* counts, int tokens, int64_t k,
                           int32_t* bounds) {
  int32_t low[kTokens] = {}, high[kTokens];
  std::fill_n(high, kTokens, kLargestKey);
  bool all_short = true;
  for (int q = 0; q < tokens; ++q) all_short = all_short && counts[q] <= kShortList;
  if (all_short) {
    for (int32_t open = 1; open > 0;) {
      open = 0;
      for (int q = 0; q < kTokens; ++q) {
        bisect(keys[q < tokens ? q : 0], kShortList, k, low[q], high[q]);
        open |= static_cast<int32_t>(high[q] - low[q] > 1);
      }
    }
  } else {
    for (int q = 0; q < tokens; ++q) {
      while (high[q] - low[q] > 1) bisect(keys[q], counts[q], k, low[q], high[q]);
    }
  }
  for (int q = 0; q < tokens; ++q)
    bounds[q] = low[q] > 0 || count_above(keys[q], counts[q], 0) >= k ? low[q] : -1;
}

// Of at least k latents the key is above `bound`, so what they are in truth is at least the least of such
// keys, less the error. What can be selected reaches that, and is positive: `margin` 2 allows for the errors
// of both. With 0 the caller has to look whether the errors mattered.
HWY_INLINE float least_candidate(int32_t bound, float unit, float error, float margin) {
  if (bound < 0) return -error;
  return std::max(value_of(bound + 1, unit) - margin * error, -error);
}

// Bit c of word q: the key 64 q + c is at least that of `least`.
HWY_INLINE void mask_keys(const Key* HWY_RESTRICT keys, int64_t columns, float least, float unit,
                          uint64_t* HWY_RESTRICT masks) {
  const DK d;
  const Key key = key_of(least, unit);
  const bool negative = unit == 0 && std::signbit(least);
  // Upper halves of negative numbers descend, and without sign they follow all positive ones.
  const Key sign = std::numeric_limits<Key>::min();
  const VK flip = hn::Set(d, negative ? sign : Key{0});
  const VK limit = hn::Set(d, negative ? static_cast<Key>(key ^ sign) : static_cast<Key>(key - 1));
  const uint64_t invert = negative ? ~uint64_t{0} : 0;
  for (int64_t word = 0; word < columns / kPanel; ++word) {
    uint64_t bits = 0;
    BRANCHSAE_UNROLL
    for (int v = 0; v < kPanel / kKeys; ++v) {
      const VK value = hn::Xor(hn::Load(d, keys + word * kPanel + v * kKeys), flip);
      bits |= mask_bits(d, hn::Gt(value, limit)) << (v * kKeys);
    }
    masks[word] = bits ^ invert;
  }
}

// Of a word that is not zero; std::countr_zero asks for that by a jump.
HWY_INLINE int32_t lowest_bit(uint64_t bits) {
  constexpr uint64_t kHighest = uint64_t{1} << 63;
  return __builtin_ctzll(bits | kHighest);
}

// Appends the positions of set bits. Most words have few: those are written without asking how many, since
// the answer would be mispredicted.
HWY_INLINE int64_t list_masks(const uint64_t* HWY_RESTRICT masks, int64_t words, int64_t first,
                              int32_t* HWY_RESTRICT positions, int64_t count) {
  constexpr int kUsual = 6;
  for (int64_t w = 0; w < words; ++w) {
    uint64_t bits = masks[w];
    const int many = std::popcount(bits);
    const auto base = static_cast<int32_t>(first + w * kPanel);
    int32_t* out = positions + count;
    BRANCHSAE_UNROLL
    for (int i = 0; i < kUsual; ++i) {
      out[i] = base + lowest_bit(bits);
      bits &= bits - 1;
    }
    if (many > kUsual) {
      for (int i = kUsual; i < many; ++i, bits &= bits - 1) out[i] = base + lowest_bit(bits);
    }
    count += many;
  }
  return count;
}

HWY_INLINE void pad_keys(Key* keys, int64_t count) {
  const DK d;
  const int64_t end = std::max(kShortList, round_up(count, kKeys));
  for (int64_t i = count; i < end; i += kKeys) hn::StoreU(hn::Zero(d), d, keys + i);
}

// Padding has low keys, but where little is positive not below all that can be selected.
HWY_INLINE int64_t without_padding(const SelectChunk& a, const int32_t* positions, int64_t count) {
  while (count > 0 && positions[count - 1] >= a.positions) --count;
  return count;
}

// The first chunk's candidates.
HWY_INLINE void list_first(const SelectChunk& a, int64_t row, int q, float least, TokenLists& lists) {
  const Key* keys = a.screen.keys + row * a.screen.key_stride;
  const float unit = a.screen.unit(row);
  int64_t count = 0;
  if (a.list_keys != nullptr && (unit > 0 || !std::signbit(least))) {
    const auto below = static_cast<Key>(key_of(least, unit) - 1);
    count = a.list_keys({keys, a.columns, below, a.first_position, lists.indices[q]});
  } else {
    alignas(64) uint64_t masks[kChunkPanels];
    mask_keys(keys, a.columns, least, unit, masks);
    count = list_masks(masks, a.columns / kPanel, a.first_position, lists.indices[q], 0);
  }
  lists.counts[q] = without_padding(a, lists.indices[q], count);
}

// Strict bounds on the keys of the first chunk.
HWY_INLINE void bound_first(const SelectChunk& a, int64_t row, int tokens, int32_t* bounds) {
  const Key* keys[kTokens];
  int64_t counts[kTokens];
  const bool groups = a.selection.k <= kPanel;
  for (int q = 0; q < tokens; ++q) {
    keys[q] =
        groups ? a.screen.group_maxima + (row + q) * kPanel : a.screen.keys + (row + q) * a.screen.key_stride;
    counts[q] = groups ? kPanel : a.columns;
  }
  bound_keys(keys, counts, tokens, a.selection.k, bounds);
}

// Candidates so far, then the chunk's; true when there are new ones.
HWY_INLINE bool append_chunk(const SelectChunk& a, int64_t row, int q, TokenLists& lists) {
  const Candidates& c = a.candidates;
  const uint64_t* masks = a.screen.masks + row * kChunkPanels;
  const int64_t words = a.columns / kPanel;
  uint64_t any = 0;
  for (int64_t w = 0; w < words; ++w) any |= masks[w];
  const int64_t before = c.counts[row];
  if (before < 0 || any == 0) return false;
  std::copy_n(c.positions + row * c.stride, before, lists.indices[q]);
  std::copy_n(c.keys + row * c.stride, before, lists.keys[q]);
  const int64_t count = list_masks(masks, words, a.first_position, lists.indices[q], before);
  lists.counts[q] = without_padding(a, lists.indices[q], count);
  return true;
}

// Keeps keys of at least a limit and their positions, whole vectors at a time; returns how many.
HWY_INLINE int64_t keep_keys(Key* keys, int32_t* positions, int64_t count, Key limit) {
  const DI di;
  const hn::Rebind<Key, DI> dk;
  const VI below = hn::Set(di, limit - 1);
  int64_t kept = 0;
  for (int64_t i = 0; i < count; i += kN) {
    const VI key = hn::PromoteTo(di, hn::LoadU(dk, keys + i)), position = hn::LoadU(di, positions + i);
    const auto real = hn::FirstN(di, static_cast<size_t>(count - i));
    const auto wanted = hn::And(hn::Gt(key, below), real);
    hn::StoreU(hn::DemoteTo(dk, hn::Compress(key, wanted)), dk, keys + kept);
    hn::StoreU(hn::Compress(position, wanted), di, positions + kept);
    kept += static_cast<int64_t>(hn::CountTrue(di, wanted));
  }
  return kept;
}

// Keeps what can still be selected of each token's list, as the candidates.
HWY_INLINE void prune(const SelectChunk& a, int64_t row, int tokens, const bool* changed, TokenLists& lists) {
  const Candidates& c = a.candidates;
  int64_t counts[kTokens] = {};
  for (int q = 0; q < tokens; ++q) {
    const int64_t before = a.first ? 0 : std::max(c.counts[row + q], 0);
    if (changed[q]) {
      const Key* keys = a.screen.keys + (row + q) * a.screen.key_stride;
      for (int64_t i = before; i < lists.counts[q]; ++i)
        lists.keys[q][i] = keys[lists.indices[q][i] - a.first_position];
      counts[q] = lists.counts[q];
    }
    pad_keys(lists.keys[q], counts[q]);
  }
  int32_t bounds[kTokens];
  bound_keys(lists.keys, counts, tokens, a.selection.k, bounds);
  for (int q = 0; q < tokens; ++q) {
    if (!changed[q]) continue;
    const int64_t to = row + q;
    const float unit = a.screen.unit(to), least = least_candidate(bounds[q], unit, a.errors[to], 2);
    const Key limit = least < 0 ? std::numeric_limits<Key>::min() : key_of(least, unit);
    const int64_t kept = keep_keys(lists.keys[q], lists.indices[q], lists.counts[q], limit);
    const bool fits = kept <= c.capacity;
    c.counts[to] = fits ? static_cast<int32_t>(kept) : -1;
    c.thresholds[to] = fits ? least : std::numeric_limits<float>::infinity();
    if (!fits) continue;
    std::copy_n(lists.keys[q], kept, c.keys + to * c.stride);
    std::copy_n(lists.indices[q], kept, c.positions + to * c.stride);
  }
}

// The candidates of all chunks as lists.
HWY_INLINE void take_candidates(const SelectChunk& a, int64_t row, int tokens, TokenLists& lists) {
  const Candidates& c = a.candidates;
  for (int q = 0; q < tokens; ++q) {
    lists.counts[q] = c.counts[row + q];
    if (lists.counts[q] > 0)
      std::copy_n(c.positions + (row + q) * c.stride, lists.counts[q], lists.indices[q]);
  }
}

HWY_INLINE void score_list(const SelectChunk& a, int64_t row, int q, TokenLists& lists) {
  const D d;
  float* values = lists.values[q];
  const int64_t count = lists.counts[q];
  score(a.scoring, row, lists.indices[q], count, values);
  const int64_t end = std::max(kShortList, round_up(count, kN));
  for (int64_t i = count; i < end; i += kN) hn::StoreU(hn::Zero(d), d, values + i);
}

// More than anything that a list leaves out whose errors were not allowed for.
HWY_INLINE float left_out(int32_t bound, float unit, float error) {
  return bound < 0 ? 0.0F : (value_of(bound + 1, unit) + error) * 1.000001F;
}

// Ties at the k-th value: `above` is less than k, and the lowest indices among the equal ones fill up.
void keep_with_ties(const TokenLists& c, int q, int64_t k, float* values, int32_t* indices) {
  const float tie = std::bit_cast<float>(c.high[q]);
  int64_t above = 0, kept = 0;
  for (int64_t i = 0; i < c.counts[q]; ++i) above += c.values[q][i] > tie ? 1 : 0;
  int64_t equal = k - above;
  for (int64_t i = 0; i < c.counts[q]; ++i) {
    const float value = c.values[q][i];
    if (!(value > tie) && !(value == tie && equal-- > 0)) continue;
    values[kept] = value;
    indices[kept++] = c.indices[q][i];
  }
}

// Writes the values above `low`, whole vectors at a time; returns how many. The target may be the list itself.
HWY_INLINE int64_t keep_above(const TokenLists& c, int q, float* values, int32_t* indices) {
  const D d;
  const DI di;
  const V limit = hn::Set(d, std::bit_cast<float>(c.low[q]));
  int64_t kept = 0;
  for (int64_t i = 0; i < c.counts[q]; i += kN) {
    const V value = hn::Load(d, c.values[q] + i);
    const Mask above = hn::Gt(value, limit);
    const VI index = hn::Load(di, c.indices[q] + i);
    hn::StoreU(hn::Compress(value, above), d, values + kept);
    hn::StoreU(hn::Compress(index, hn::RebindMask(di, above)), di, indices + kept);
    kept += static_cast<int64_t>(hn::CountTrue(d, above));
  }
  return kept;
}

HWY_INLINE float largest(const float* values, int64_t count) {
  const D d;
  V most = hn::Zero(d);
  for (int64_t i = 0; i < count; i += kN) most = hn::Max(most, hn::Load(d, values + i));
  return hn::GetLane(hn::MaxOfLanes(d, most));
}

// Bisects until exactly k are above `low`, or `high` is the k-th value and occurs more than once. Lists of up
// to k keep what is positive.
HWY_INLINE void narrow(TokenLists& c, int tokens, int64_t k) {
  bool all_short = true;
  for (int q = 0; q < kTokens; ++q) {
    c.low[q] = c.high[q] = 0;
    if (q >= tokens || c.counts[q] <= k) continue;
    const int64_t count = round_up(c.counts[q], kN);
    all_short = all_short && count <= kShortList;
    int32_t start = std::bit_cast<int32_t>(std::max(c.floor[q], 0.0F));
    int64_t above = count_above(c.values[q], count, start);
    if (above < k) above = count_above(c.values[q], count, start = 0);
    c.low[q] = c.high[q] = start;
    if (above > k) c.high[q] = std::bit_cast<int32_t>(largest(c.values[q], count));
    if (above < k) c.low[q] = c.high[q] = 0;
  }
  if (all_short) {
    int32_t open = 1;
    while (open > 0) {
      open = 0;
      for (int q = 0; q < kTokens; ++q) {
        bisect(c.values[q < tokens ? q : 0], kShortList, k, c.low[q], c.high[q]);
        open |= static_cast<int32_t>(c.high[q] - c.low[q] > 1);
      }
    }
    return;
  }
  for (int q = 0; q < tokens; ++q) {
    while (c.high[q] - c.low[q] > 1) bisect(c.values[q], round_up(c.counts[q], kN), k, c.low[q], c.high[q]);
  }
}

HWY_INLINE int64_t keep_best(const TokenLists& c, int q, int64_t k, float* values, int32_t* indices) {
  if (c.high[q] == c.low[q]) return keep_above(c, q, values, indices);
  keep_with_ties(c, q, k, values, indices);
  return k;
}

HWY_INLINE void name_latents(const Scoring& s, int32_t* positions, int64_t count) {
  if (s.latents == nullptr) return;
  for (int64_t i = 0; i < count; ++i) positions[i] = s.latents[positions[i]];
}

// Scores what is listed of each token and writes the k best. After the only chunk the lists were made without
// regard to errors, and a token whose list may lack something is listed again.
HWY_INLINE void finish(const SelectChunk& a, int64_t row, int tokens, const int32_t* bounds,
                       TokenLists& lists) {
  const int64_t k = a.selection.k;
  for (int q = 0; q < tokens; ++q) {
    if (lists.counts[q] < 0) continue;
    const float error = a.errors[row + q], unit = a.screen.unit(row + q);
    score_list(a, row + q, q, lists);
    if (!a.first) {
      lists.floor[q] = a.candidates.thresholds[row + q];
      continue;
    }
    // Of the list k are above that: it is complete, since what it lacks is not.
    lists.floor[q] = left_out(bounds[q], unit, error);
    const int64_t padded = round_up(lists.counts[q], kN);
    if (bounds[q] < 0 || count_above(lists.values[q], padded, std::bit_cast<int32_t>(lists.floor[q])) >= k)
      continue;
    lists.floor[q] = least_candidate(bounds[q], unit, error, 2);
    list_first(a, row + q, q, lists.floor[q], lists);
    score_list(a, row + q, q, lists);
  }
  narrow(lists, tokens, k);
  for (int q = 0; q < tokens; ++q) {
    const Selection& s = a.selection;
    int32_t* indices = s.indices + (row + q) * s.stride;
    int64_t kept = -1;
    if (lists.counts[q] >= 0) kept = keep_best(lists, q, k, s.values + (row + q) * s.stride, indices);
    name_latents(a.scoring, indices, kept);
    s.counts[row + q] = static_cast<int32_t>(kept);
  }
}

void select_chunk(const SelectChunk& a) {
  TokenLists lists = lists_in(a.work);
  for (int64_t row = 0; row < a.rows; row += kLockstep) {
    const int tokens = static_cast<int>(std::min(kLockstep, a.rows - row));
    int32_t bounds[kTokens] = {};
    bool changed[kTokens] = {};
    if (a.first) {
      bound_first(a, row, tokens, bounds);
      const float margin = a.last ? 0 : 2;
      for (int q = 0; q < tokens; ++q) {
        const float unit = a.screen.unit(row + q), error = a.errors[row + q];
        list_first(a, row + q, q, least_candidate(bounds[q], unit, error, margin), lists);
      }
      std::fill_n(changed, tokens, true);
    } else {
      for (int q = 0; q < tokens; ++q) changed[q] = append_chunk(a, row + q, q, lists);
    }
    const bool only = a.first && a.last;
    if (!only && std::find(changed, changed + tokens, true) != changed + tokens)
      prune(a, row, tokens, changed, lists);
    if (!a.last) continue;
    if (!only) take_candidates(a, row, tokens, lists);
    finish(a, row, tokens, bounds, lists);
  }
}

// NaN must reach no comparison: it becomes -infinity, which is never selected.
HWY_INLINE bool replace_nan(float* values, int64_t count) {
  bool found = false;
  for (int64_t i = 0; i < count; ++i) {
    if (!std::isnan(values[i])) continue;
    values[i] = -std::numeric_limits<float>::infinity();
    found = true;
  }
  return found;
}

NumericFlags select_all(const SelectAll& a) {
  const D d;
  TokenLists lists = lists_in(a.work);
  const int64_t k = a.selection.k;
  NumericFlags flags;
  int64_t& count = lists.counts[0];
  for (int64_t first = 0; first < a.positions; first += kChunk) {
    const int64_t more = std::min(kChunk, a.positions - first);
    for (int64_t i = 0; i < more; ++i) lists.indices[0][count + i] = static_cast<int32_t>(first + i);
    score(a.scoring, a.row, lists.indices[0] + count, more, lists.values[0] + count);
    if (replace_nan(lists.values[0] + count, more)) flags.nan = true;
    count += more;
    for (int64_t i = count; i < std::max(kShortList, round_up(count, kN)); i += kN)
      hn::StoreU(hn::Zero(d), d, lists.values[0] + i);
    narrow(lists, 1, k);
    count = keep_best(lists, 0, k, lists.values[0], lists.indices[0]);
  }
  std::copy_n(lists.values[0], count, a.selection.values + a.row * a.selection.stride);
  name_latents(a.scoring, lists.indices[0], count);
  std::copy_n(lists.indices[0], count, a.selection.indices + a.row * a.selection.stride);
  a.selection.counts[a.row] = static_cast<int32_t>(count);
  for (int64_t i = 0; i < count; ++i) flags.inf = flags.inf || std::isinf(lists.values[0][i]);
  return flags;
}

}  // namespace branchsae::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
