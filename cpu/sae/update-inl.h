// Sums of gradient rows, Adam, packing. Included once for each instruction set.
#if defined(BRANCHSAE_CPU_SAE_UPDATE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BRANCHSAE_CPU_SAE_UPDATE_INL_H_
#undef BRANCHSAE_CPU_SAE_UPDATE_INL_H_
#else
#define BRANCHSAE_CPU_SAE_UPDATE_INL_H_
#endif

#include <cfloat>
#include <cmath>

#include "cpu/sae/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace branchsae::cpu::HWY_NAMESPACE {

// Vectors of a row summed at once: two sets of r and xc fill 12 registers.
constexpr int kSumVectors = 3;

// Pairs taken alternately by two sets of sums, against the latency of an addition.
template <int kVectors>
HWY_INLINE float sum_pair_columns(const SumPairs& a, int64_t column) {
  const D d;
  V r[2][kVectors], xc[2][kVectors];
  BRANCHSAE_UNROLL
  for (int v = 0; v < kVectors; ++v) r[0][v] = r[1][v] = xc[0][v] = xc[1][v] = hn::Zero(d);
  float g[2] = {0, 0};
  const float* slice = a.slice + column;
  const int64_t stride = 2 * a.slice_stride, xc_offset = a.slice_stride;
  constexpr int64_t kAhead = 8;
  const auto add = [&](const Pair& pair, int set) HWY_ATTR {
    const float* row = slice + pair.token * stride;
    const V zc = hn::Set(d, pair.zc), gradient = hn::Set(d, pair.g);
    BRANCHSAE_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      r[set][v] = hn::MulAdd(zc, hn::Load(d, row + v * kN), r[set][v]);
      xc[set][v] = hn::MulAdd(gradient, hn::Load(d, row + xc_offset + v * kN), xc[set][v]);
    }
    g[set] += pair.g;
  };
  const auto fetch = [&](int64_t i) HWY_ATTR {
    const float* row = slice + a.pairs[i].token * stride;
    BRANCHSAE_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      __builtin_prefetch(row + v * kN, 0, 3);
      __builtin_prefetch(row + xc_offset + v * kN, 0, 3);
    }
  };
  int64_t i = 0;
  for (; i + kAhead + 2 <= a.count; i += 2) {
    fetch(i + kAhead);
    fetch(i + kAhead + 1);
    add(a.pairs[i], 0);
    add(a.pairs[i + 1], 1);
  }
  for (; i + 2 <= a.count; i += 2) {
    add(a.pairs[i], 0);
    add(a.pairs[i + 1], 1);
  }
  if (i < a.count) add(a.pairs[i], 0);
  BRANCHSAE_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    const V decoder = hn::Add(r[0][v], r[1][v]), encoder = hn::Add(xc[0][v], xc[1][v]);
    if (a.gradient_dec == nullptr) {
      hn::Store(hn::Add(decoder, encoder), d, a.gradient + column + v * kN);
    } else {
      hn::Store(encoder, d, a.gradient + column + v * kN);
      hn::Store(decoder, d, a.gradient_dec + column + v * kN);
    }
  }
  return g[0] + g[1];
}

float sum_pairs(const SumPairs& a) {
  float g = 0;
  int64_t column = 0;
  for (; column + kSumVectors * kN <= a.width; column += kSumVectors * kN)
    g = sum_pair_columns<kSumVectors>(a, column);
  const int64_t rest = (a.width - column) / kN;
  if (rest == 2) return sum_pair_columns<2>(a, column);
  if (rest == 1) return sum_pair_columns<1>(a, column);
  return g;
}

void sum_partials(float* partials, int64_t stride, int64_t count, int64_t width, float* target) {
  const D d;
  const V zero = hn::Zero(d);
  for (int64_t j = 0; j < width; j += kN) {
    V sum = zero;
    for (int64_t q = 0; q < count; ++q) {
      float* p = partials + q * stride + j;
      sum = hn::Add(sum, hn::Load(d, p));
      hn::Store(zero, d, p);
    }
    hn::Store(sum, d, target + j);
  }
}

void add_scaled(float a, const float* x, float* y, int64_t width) {
  const D d;
  const V factor = hn::Set(d, a);
  for (int64_t j = 0; j < width; j += kN)
    hn::Store(hn::MulAdd(factor, hn::Load(d, x + j), hn::Load(d, y + j)), d, y + j);
}

// Exact square root and division: estimates differ between processors, and so would trained weights.
HWY_INLINE V adam_step(const AdamFactors& f, V gradient, V& m, V& v) {
  const D d;
  const V beta1 = hn::Set(d, f.beta1), beta2 = hn::Set(d, f.beta2);
  m = hn::MulAdd(beta1, m, hn::Mul(hn::Set(d, 1 - f.beta1), gradient));
  v = hn::MulAdd(beta2, v, hn::Mul(hn::Mul(hn::Set(d, 1 - f.beta2), gradient), gradient));
  const V root = hn::Sqrt(hn::Mul(v, hn::Set(d, f.inverse_bias2)));
  const V divisor = hn::Max(hn::Add(root, hn::Set(d, f.epsilon)), hn::Set(d, FLT_MIN));
  return hn::Div(hn::Mul(hn::Set(d, f.step_size), m), divisor);
}

float update_weights(const UpdateWeights& a) {
  const D d;
  V squares = hn::Zero(d);
  int64_t j = 0;
  for (; j + kN <= a.count; j += kN) {
    V m = hn::LoadU(d, a.m + j), v = hn::LoadU(d, a.v + j);
    const V change = adam_step(a.adam, hn::LoadU(d, a.gradient + j), m, v);
    const V w = hn::Sub(hn::LoadU(d, a.w + j), change);
    hn::StoreU(m, d, a.m + j);
    hn::StoreU(v, d, a.v + j);
    hn::StoreU(w, d, a.w + j);
    squares = hn::MulAdd(w, w, squares);
  }
  UpdateWeights rest = a;
  rest.gradient += j, rest.w += j, rest.m += j, rest.v += j, rest.count -= j;
  return sum_of_lanes(squares) + (rest.count > 0 ? plain_kernels().update_weights(rest) : 0.0F);
}

// 4 x 4 transposes in registers.
void pack_panel(const PackPanel& a) {
  const hn::FixedTag<float, 4> d;
  const hn::Repartition<uint64_t, decltype(d)> d64;
  const int64_t rows = a.rows / 4 * 4, columns = a.columns / 4 * 4;
  for (int64_t j = 0; j < columns; j += 4) {
    for (int64_t i = 0; i < rows; i += 4) {
      const float* w = a.w + i * a.w_stride + j;
      const auto r0 = hn::LoadU(d, w), r1 = hn::LoadU(d, w + a.w_stride);
      const auto r2 = hn::LoadU(d, w + 2 * a.w_stride), r3 = hn::LoadU(d, w + 3 * a.w_stride);
      const auto low01 = hn::BitCast(d64, hn::InterleaveLower(d, r0, r1));
      const auto low23 = hn::BitCast(d64, hn::InterleaveLower(d, r2, r3));
      const auto high01 = hn::BitCast(d64, hn::InterleaveUpper(d, r0, r1));
      const auto high23 = hn::BitCast(d64, hn::InterleaveUpper(d, r2, r3));
      float* panel = a.panel + j * kPanel + i;
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d64, low01, low23)), d, panel);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d64, low01, low23)), d, panel + kPanel);
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d64, high01, high23)), d, panel + 2 * kPanel);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d64, high01, high23)), d, panel + 3 * kPanel);
    }
  }
  for (int64_t i = 0; i < a.rows; ++i) {
    for (int64_t j = i < rows ? columns : 0; j < a.columns; ++j)
      a.panel[j * kPanel + i] = a.w[i * a.w_stride + j];
  }
}

}  // namespace branchsae::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
