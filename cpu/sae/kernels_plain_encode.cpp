// Plain C++ twins of the kernels of encode and selection.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "cpu/sae/kernel_tables.h"
#include "cpu/sae/layout.h"

namespace branchsae::cpu {
namespace {

// The nearest number whose lower half is zero, ties to even. Finite numbers only.
float round_to_bf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  return std::bit_cast<float>((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000U);
}

uint32_t pair_of(float even, float odd) {
  return std::bit_cast<uint32_t>(even) >> 16 | (std::bit_cast<uint32_t>(odd) & 0xffff0000U);
}

float even_of(uint32_t pair) {
  return std::bit_cast<float>(pair << 16);
}

float odd_of(uint32_t pair) {
  return std::bit_cast<float>(pair & 0xffff0000U);
}

void keep_maxima(const Screen& a, int64_t row, int64_t panel, const Key* keys) {
  Key* maxima = a.group_maxima + row * kPanel;
  for (int64_t c = 0; c < kPanel; ++c) maxima[c] = panel == 0 ? keys[c] : std::max(maxima[c], keys[c]);
}

// Keys, maxima and masks of one token and panel.
void finish_panel(const Screen& a, int64_t row, int64_t panel, const float* p) {
  Key* keys = a.keys + row * a.key_stride + panel * kPanel;
  for (int64_t c = 0; c < kPanel; ++c) keys[c] = static_cast<Key>(std::bit_cast<int32_t>(p[c]) >> 16);
  if (a.group_maxima != nullptr) {
    keep_maxima(a, row, panel, keys);
  } else {
    uint64_t mask = 0;
    for (int64_t c = 0; c < kPanel; ++c) mask |= static_cast<uint64_t>(p[c] >= a.thresholds[row]) << c;
    a.masks[row * kChunkPanels + panel] = mask;
  }
}

Fixed to_fixed(float value, float factor) {
  return static_cast<Fixed>(std::max(std::nearbyint(value * factor), -0x1p15F));
}

// The upper half of a product of fractions, rounded.
int32_t multiply_fixed(Fixed a, Fixed b) {
  return (static_cast<int32_t>(a) * static_cast<int32_t>(b) + (1 << 14)) >> 15;
}

// u of one latent, in sixteen sums that compilers can keep in vectors.
float score(const Scoring& s, int64_t row, int64_t latent) {
  const float* x = s.xs + row * s.x_stride;
  const float* w = s.weights + latent * s.d_padded;
  float sums[kLanes] = {s.bias[latent]};
  for (int64_t j = 0; j < s.d_padded; j += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) sums[lane] += w[j + lane] * x[j + lane];
  }
  for (int64_t half = kLanes / 2; half > 0; half /= 2) {
    for (int64_t lane = 0; lane < half; ++lane) sums[lane] += sums[lane + half];
  }
  return sums[0];
}

// Keeps the k largest of `count` candidates in place, ties to the lower index; candidates are in ascending
// index. `order` has room for k.
void keep_largest(float* values, int32_t* positions, int64_t count, int64_t k, int32_t* order) {
  const auto before = [&](int32_t a, int32_t b) {
    return values[a] > values[b] || (values[a] == values[b] && a < b);
  };
  // Heap of the k best so far, worst on top.
  for (int32_t i = 0; i < k; ++i) order[i] = i;
  std::make_heap(order, order + k, before);
  for (auto i = static_cast<int32_t>(k); i < count; ++i) {
    if (!before(i, order[0])) continue;
    std::pop_heap(order, order + k, before);
    order[k - 1] = i;
    std::push_heap(order, order + k, before);
  }
  std::sort(order, order + k);
  for (int64_t i = 0; i < k; ++i) {
    values[i] = values[order[i]];
    positions[i] = positions[order[i]];
  }
}

}  // namespace

void plain_round_tokens(const RoundTokens& a) {
  for (int64_t t = 0; t < a.rows; ++t) {
    const float* x = a.xs + t * a.x_stride;
    float squares = 0, errors = 0;
    for (int64_t j = 0; j < a.d_padded; ++j) squares += x[j] * x[j];
    a.squares[t] = squares;
    if (a.pairs == nullptr) continue;
    for (int64_t j = 0; j < a.d_padded; j += 2) {
      const float even = round_to_bf16(x[j]), odd = round_to_bf16(x[j + 1]);
      a.pairs[t * a.pair_stride + j / 2] = pair_of(even, odd);
      errors += (x[j] - even) * (x[j] - even) + (x[j + 1] - odd) * (x[j + 1] - odd);
    }
    a.errors[t] = errors;
  }
}

void plain_round_panel(const RoundPanel& a) {
  std::fill_n(a.errors, kPanel, 0.0F);
  for (int64_t j = 0; j < a.columns; j += 2) {
    for (int64_t c = 0; c < kPanel; ++c) {
      const float even = a.panel[j * kPanel + c];
      const float odd = j + 1 < a.columns ? a.panel[(j + 1) * kPanel + c] : 0.0F;
      const float even_rounded = round_to_bf16(even), odd_rounded = round_to_bf16(odd);
      a.pairs[j / 2 * kPanel + c] = pair_of(even_rounded, odd_rounded);
      a.errors[c] += (even - even_rounded) * (even - even_rounded);
      a.errors[c] += (odd - odd_rounded) * (odd - odd_rounded);
    }
  }
}

void plain_encode_chunk(const EncodeChunk& a) {
  for (int64_t q = 0; q < a.panels; ++q) {
    for (int64_t t = 0; t < a.rows; ++t) {
      float sums[kPanel];
      std::copy_n(a.bias + q * kPanel, kPanel, sums);
      for (int64_t j = 0; j < a.d; ++j) {
        const float* w = a.weights + (q * a.d + j) * kPanel;
        for (int64_t c = 0; c < kPanel; ++c) sums[c] += w[c] * a.xs[t * a.x_stride + j];
      }
      finish_panel(a.screen, t, q, sums);
    }
  }
}

void plain_encode_pairs(const EncodePairs& a) {
  for (int64_t q = 0; q < a.panels; ++q) {
    for (int64_t t = 0; t < a.rows; ++t) {
      float sums[kPanel];
      std::copy_n(a.bias + q * kPanel, kPanel, sums);
      for (int64_t j = 0; j < a.pairs; ++j) {
        const uint32_t x = a.xs[t * a.x_stride + j];
        for (int64_t c = 0; c < kPanel; ++c) {
          const uint32_t w = a.weights[(q * a.pairs + j) * kPanel + c];
          sums[c] += odd_of(w) * odd_of(x);
          sums[c] += even_of(w) * even_of(x);
        }
      }
      finish_panel(a.screen, t, q, sums);
    }
  }
}

void plain_fix_panel(const FixPanel& a) {
  for (int64_t i = 0; i < a.columns * kPanel; ++i) a.fixed[i] = to_fixed(a.panel[i], a.weight_factor);
  for (int64_t c = 0; c < kPanel; ++c) a.fixed[a.columns * kPanel + c] = to_fixed(a.bias[c], a.bias_factor);
}

void plain_fix_tokens(const FixTokens& a) {
  const NonzeroLists& lists = *a.nonzeros;
  for (int64_t b = 0; b < lists.blocks; ++b) {
    const int32_t* starts = lists.starts + b * lists.starts_stride;
    for (int64_t t = 0; t < a.rows; ++t) {
      for (int64_t i = b * lists.block_stride + starts[t]; i < b * lists.block_stride + starts[t + 1]; ++i) {
        const auto half = static_cast<uint16_t>(to_fixed(lists.values[i], a.factors[t]));
        a.fixed[i] = static_cast<uint32_t>(half) << 16 | half;
      }
    }
  }
}

void plain_encode_fixed(const EncodeFixed& a) {
  const NonzeroLists& lists = *a.nonzeros;
  for (int64_t q = 0; q < a.panels; ++q) {
    const Fixed* panel = a.weights + q * (a.d + 1) * kPanel;
    for (int64_t t = 0; t < a.rows; ++t) {
      Key* keys = a.screen.keys + t * a.screen.key_stride + q * kPanel;
      for (int64_t c = 0; c < kPanel; ++c) {
        int32_t sum = multiply_fixed(panel[a.d * kPanel + c], a.bias_factors[t]);
        for (int64_t b = 0; b < lists.blocks; ++b) {
          const int32_t* starts = lists.starts + b * lists.starts_stride + t;
          for (int64_t i = b * lists.block_stride + starts[0]; i < b * lists.block_stride + starts[1]; ++i) {
            const Fixed weight = panel[lists.columns[i] * kPanel + c];
            sum += multiply_fixed(weight, static_cast<Fixed>(a.values[i] & 0xffff));
          }
        }
        keys[c] = static_cast<Key>(sum);
      }
      if (a.screen.group_maxima != nullptr) {
        keep_maxima(a.screen, t, q, keys);
        continue;
      }
      uint64_t mask = 0;
      for (int64_t c = 0; c < kPanel; ++c) {
        const float value = static_cast<float>(keys[c]) * a.screen.units[t];
        mask |= static_cast<uint64_t>(value >= a.screen.thresholds[t]) << c;
      }
      a.screen.masks[t * kChunkPanels + q] = mask;
    }
  }
}

NumericFlags plain_select_all(const SelectAll& a) {
  const Selection& s = a.selection;
  float* values = a.work.values;
  int32_t* positions = a.work.indices;
  int32_t* chosen = s.indices + a.row * s.stride;
  NumericFlags flags;
  int64_t count = 0;
  for (int64_t first = 0; first < a.positions; first += kChunk) {
    for (int64_t i = first; i < std::min(first + kChunk, a.positions); ++i) {
      const float u = score(a.scoring, a.row, a.scoring.latents == nullptr ? i : a.scoring.latents[i]);
      flags.nan = flags.nan || std::isnan(u);
      if (!(u > 0)) continue;
      values[count] = u;
      positions[count++] = static_cast<int32_t>(i);
    }
    if (count <= s.k) continue;
    keep_largest(values, positions, count, s.k, chosen);
    count = s.k;
  }
  for (int64_t i = 0; i < count; ++i) {
    flags.inf = flags.inf || std::isinf(values[i]);
    s.values[a.row * s.stride + i] = values[i];
    chosen[i] = a.scoring.latents == nullptr ? positions[i] : a.scoring.latents[positions[i]];
  }
  s.counts[a.row] = static_cast<int32_t>(count);
  return flags;
}

}  // namespace branchsae::cpu
