// Sums of gradient rows, Adam, packing. Included once for each instruction set.
#if defined(BRANCHSAE_CPU_SAE_UPDATE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BRANCHSAE_CPU_SAE_UPDATE_INL_H_
#undef BRANCHSAE_CPU_SAE_UPDATE_INL_H_
#else
#define BRANCHSAE_CPU_SAE_UPDATE_INL_H_
#endif

#include <algorithm>
#include <cfloat>
#include <cmath>

#include "cpu/sae/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace branchsae::cpu::HWY_NAMESPACE {

// Widest block of columns whose residual and token stay in registers.
constexpr int kAddVectors = 4;
// Rows whose weights are fetched ahead: slices of a row-major W are too short for the processor's own
// prefetching.
constexpr int64_t kRowsAhead = 8;

// The rows of a range and slice stay in cache; residuals and tokens come by in order, once.
template <int kVectors, bool kTied>
HWY_INLINE void add_pair_columns(const AddPairs& a, int64_t column) {
  const D d;
  const RangePairs p = a.pairs;  // a copy: the stores below could change what is referred to
  const int64_t width = a.width, slice_stride = a.slice_stride;
  const int32_t* HWY_RESTRICT latents = p.latents;
  const float* HWY_RESTRICT all_zc = p.zc;
  const float* HWY_RESTRICT all_g = p.g;
  float* HWY_RESTRICT rows = a.rows + column - p.first_latent * a.width;
  float* HWY_RESTRICT rows_dec = kTied ? nullptr : a.rows_dec + column - p.first_latent * a.width;
  for (int64_t t = 0; t < p.tokens; ++t) {
    const int32_t* bounds = p.bounds + t * p.bounds_stride;
    const float* HWY_RESTRICT slice = a.slice + t * 2 * slice_stride + column;
    V r[kVectors], xc[kVectors];
    BRANCHSAE_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      r[v] = hn::Load(d, slice + v * kN);
      xc[v] = hn::Load(d, slice + slice_stride + v * kN);
    }
    const int64_t first = t * p.stride;
    const int64_t end = first + bounds[1];
    for (int64_t i = first + bounds[0]; i < end; ++i) {
      const int64_t offset = latents[i] * width;
      const V zc = hn::Set(d, all_zc[i]), g = hn::Set(d, all_g[i]);
      BRANCHSAE_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        float* row = rows + offset + v * kN;
        const V sum = hn::MulAdd(g, xc[v], hn::Load(d, row));
        if constexpr (kTied) {
          hn::Store(hn::MulAdd(zc, r[v], sum), d, row);
        } else {
          hn::Store(sum, d, row);
          float* row_dec = rows_dec + offset + v * kN;
          hn::Store(hn::MulAdd(zc, r[v], hn::Load(d, row_dec)), d, row_dec);
        }
      }
    }
  }
}

template <int kVectors, bool kTied>
HWY_INLINE void add_pair_columns_of(int vectors, const AddPairs& a, int64_t column) {
  if (vectors == kVectors) return add_pair_columns<kVectors, kTied>(a, column);
  if constexpr (kVectors > 1) add_pair_columns_of<kVectors - 1, kTied>(vectors, a, column);
}

void add_pairs(const AddPairs& a) {
  for (int64_t column = 0; column < a.width; column += kAddVectors * kN) {
    const int vectors = static_cast<int>(std::min<int64_t>(kAddVectors, (a.width - column) / kN));
    if (a.rows_dec == nullptr) {
      add_pair_columns_of<kAddVectors, true>(vectors, a, column);
    } else {
      add_pair_columns_of<kAddVectors, false>(vectors, a, column);
    }
  }
}

void sum_partials(const SumPartials& a) {
  const D d;
  const auto take = [&](int h, int64_t q, int64_t j) HWY_ATTR {
    float* from = a.partials + a.slots[h][q] * a.stride + j;
    const V value = hn::Load(d, from);
    hn::Store(hn::Zero(d), d, from);
    return value;
  };
  for (int64_t j = 0; j < a.width; j += kN) {
    V halves[2];
    for (int h = 0; h < 2; ++h) {
      halves[h] = take(h, 0, j);
      for (int64_t q = 1; q < a.counts[h]; ++q) halves[h] = hn::Add(halves[h], take(h, q, j));
    }
    hn::Store(hn::Add(halves[0], halves[1]), d, a.target + j);
  }
}

void move_sums(float* HWY_RESTRICT from, float* HWY_RESTRICT to, int64_t count) {
  const D d;
  for (int64_t j = 0; j < count; j += kN) {
    hn::Store(hn::Add(hn::Load(d, to + j), hn::Load(d, from + j)), d, to + j);
    hn::Store(hn::Zero(d), d, from + j);
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

void update_weights(const UpdateWeights& a) {
  const D d;
  int64_t j = 0;
  for (; j + kN <= a.count; j += kN) {
    V m = hn::LoadU(d, a.m + j), v = hn::LoadU(d, a.v + j);
    const V change = adam_step(a.adam, hn::LoadU(d, a.gradient + j), m, v);
    hn::StoreU(hn::Sub(hn::LoadU(d, a.w + j), change), d, a.w + j);
    hn::StoreU(m, d, a.m + j);
    hn::StoreU(v, d, a.v + j);
  }
  UpdateWeights rest = a;
  rest.gradient += j, rest.w += j, rest.m += j, rest.v += j, rest.count -= j;
  if (rest.count > 0) plain_kernels().update_weights(rest);
}

template <bool kBiases, bool kStream>
HWY_INLINE void update_rows_of(const UpdateRows& a) {
  const D d;
  for (int64_t i = 0; i < a.rows; ++i) {
    float* HWY_RESTRICT w = a.w + i * a.w_stride;
    float* HWY_RESTRICT gradient = a.gradient + i * a.width;
    float* HWY_RESTRICT m = a.m + i * a.width;
    float* HWY_RESTRICT v = a.v + i * a.width;
    const V bias = kBiases ? hn::Set(d, a.bias_gradients[i]) : hn::Zero(d);
    V squares = hn::Zero(d);
    for (int64_t j = 0; j < a.width; j += kN) {
      __builtin_prefetch(w + kRowsAhead * a.w_stride + j, kStream ? 0 : 1, 2);
      V m_j = hn::Load(d, m + j), v_j = hn::Load(d, v + j);
      const V before = hn::Load(d, w + j);
      if constexpr (kBiases) {
        float* sums = a.b_pre_sums + j;
        hn::Store(hn::MulAdd(bias, before, hn::Load(d, sums)), d, sums);
      }
      const V after = hn::Sub(before, adam_step(a.adam, hn::Load(d, gradient + j), m_j, v_j));
      hn::Store(m_j, d, m + j);
      hn::Store(v_j, d, v + j);
      hn::Store(after, d, gradient + j);
      if constexpr (kStream) {
        hn::Stream(after, d, w + j);
      } else {
        hn::Store(after, d, w + j);
      }
      squares = hn::MulAdd(after, after, squares);
    }
    a.squares[i] = sum_of_lanes(squares);
  }
  if (kStream) hwy::FlushStream();
}

void update_rows(const UpdateRows& a) {
  const bool biases = a.bias_gradients != nullptr;
  if (a.shared) return biases ? update_rows_of<true, true>(a) : update_rows_of<false, true>(a);
  return biases ? update_rows_of<true, false>(a) : update_rows_of<false, false>(a);
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
