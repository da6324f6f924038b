// Plain C++ twins of the vector kernels: what runs where no better level exists, and what the others are
// tested with.
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <utility>

#include "cpu/sae/kernel_tables.h"
#include "cpu/sae/layout.h"

namespace branchsae::cpu {
namespace {

LoadedTile load_tile(const LoadTile& a) {
  std::fill_n(a.column_sums, a.d_padded, 0.0F);
  LoadedTile result{};
  for (int64_t t = 0; t < a.rows; ++t) {
    const float* x = a.x + t * a.row_stride;
    float* xs = a.xs + t * a.tile_stride;
    float* xc = a.xc + t * a.tile_stride;
    float row_squares = 0;
    for (int64_t j = 0; j < a.d; ++j) {
      xs[j] = a.scale * x[j * a.column_stride];
      xc[j] = xs[j] - a.b_pre[j];
      a.column_sums[j] += xc[j];
      row_squares += xc[j] * xc[j];
      result.nonzeros += xs[j] != 0 ? 1 : 0;
    }
    std::fill(xs + a.d, xs + a.d_padded, 0.0F);
    std::fill(xc + a.d, xc + a.d_padded, 0.0F);
    result.squares += static_cast<double>(row_squares);
  }
  return result;
}

void shift_bias(const ShiftBias& a) {
  std::copy_n(a.b_enc, kPanel, a.shifted);
  for (int64_t j = 0; j < a.d; ++j) {
    if (a.b_pre[j] == 0) continue;  // an infinite weight may not meet it
    for (int64_t c = 0; c < kPanel; ++c) a.shifted[c] -= a.panel[j * kPanel + c] * a.b_pre[j];
  }
}

float decode_token(const DecodeToken& a) {
  float* r = a.r;
  for (int64_t j = 0; j < a.d_padded; ++j) r[j] = a.base_sign * a.base[j];
  for (int64_t i = 0; i < a.count; ++i) {
    const float* row = a.rows + a.indices[i] * a.d_padded;
    for (int64_t j = 0; j < a.d_padded; ++j) r[j] += a.z[i] * row[j];
  }
  float squares = 0;
  for (int64_t j = 0; j < a.d_padded; ++j) squares += r[j] * r[j];
  if (a.r_sums != nullptr) {
    for (int64_t j = 0; j < a.d_padded; ++j) a.r_sums[j] += r[j];
  }
  if (a.dots == nullptr) return squares;
  for (int64_t i = 0; i < a.count; ++i) {
    const float* row = a.rows + a.indices[i] * a.d_padded;
    float dot = 0;
    for (int64_t j = 0; j < a.d_padded; ++j) dot += row[j] * r[j];
    a.dots[i] = dot;
  }
  return squares;
}

void scatter_token(const ScatterToken& a) {
  for (int64_t i = 0; i < a.count; ++i) {
    float* row = a.rows + a.indices[i] * a.d_padded;
    float* row_dec = a.rows_dec == nullptr ? row : a.rows_dec + a.indices[i] * a.d_padded;
    for (int64_t j = 0; j < a.d_padded; ++j) row_dec[j] += a.zc[i] * a.r[j];
    for (int64_t j = 0; j < a.d_padded; ++j) row[j] += a.g[i] * a.xc[j];
  }
}

void add_pairs(const AddPairs& a) {
  const RangePairs& p = a.pairs;
  for (int64_t t = 0; t < p.tokens; ++t) {
    const float* r = a.slice + t * 2 * a.slice_stride;
    const float* xc = r + a.slice_stride;
    const int32_t* bounds = p.bounds + t * p.bounds_stride;
    for (int64_t i = t * p.stride + bounds[0]; i < t * p.stride + bounds[1]; ++i) {
      const int64_t offset = (p.latents[i] - p.first_latent) * a.width;
      float* row = a.rows + offset;
      float* row_dec = a.rows_dec == nullptr ? row : a.rows_dec + offset;
      for (int64_t j = 0; j < a.width; ++j) row[j] += p.g[i] * xc[j];
      for (int64_t j = 0; j < a.width; ++j) row_dec[j] += p.zc[i] * r[j];
    }
  }
}

void sum_partials(const SumPartials& a) {
  for (int64_t j = 0; j < a.width; ++j) {
    const auto take = [&](int h, int64_t q) {
      return std::exchange(a.partials[a.slots[h][q] * a.stride + j], 0.0F);
    };
    float halves[2];
    for (int h = 0; h < 2; ++h) {
      halves[h] = take(h, 0);
      for (int64_t q = 1; q < a.counts[h]; ++q) halves[h] += take(h, q);
    }
    a.target[j] = halves[0] + halves[1];
  }
}

void move_sums(float* from, float* to, int64_t count) {
  for (int64_t j = 0; j < count; ++j) to[j] += std::exchange(from[j], 0.0F);
}

void add_scaled(float a, const float* x, float* y, int64_t width) {
  for (int64_t j = 0; j < width; ++j) y[j] += a * x[j];
}

// Returns w after the step.
float adam_step(const AdamFactors& f, float gradient, float w, float& m, float& v) {
  m = f.beta1 * m + (1 - f.beta1) * gradient;
  v = f.beta2 * v + (1 - f.beta2) * gradient * gradient;
  // 0 / 0 is 0 when epsilon is 0.
  const float divisor = std::max(std::sqrt(v * f.inverse_bias2) + f.epsilon, FLT_MIN);
  return w - f.step_size * m / divisor;
}

void update_weights(const UpdateWeights& a) {
  for (int64_t j = 0; j < a.count; ++j) a.w[j] = adam_step(a.adam, a.gradient[j], a.w[j], a.m[j], a.v[j]);
}

void update_rows(const UpdateRows& a) {
  for (int64_t i = 0; i < a.rows; ++i) {
    float* w = a.w + i * a.w_stride;
    float squares = 0;
    for (int64_t j = 0; j < a.width; ++j) {
      if (a.bias_gradients != nullptr) a.b_pre_sums[j] += a.bias_gradients[i] * w[j];
      const int64_t at = i * a.width + j;
      w[j] = a.gradient[at] = adam_step(a.adam, a.gradient[at], w[j], a.m[at], a.v[at]);
      squares += w[j] * w[j];
    }
    a.squares[i] = squares;
  }
}

void pack_panel(const PackPanel& a) {
  for (int64_t i = 0; i < a.rows; ++i) {
    for (int64_t j = 0; j < a.columns; ++j) a.panel[j * kPanel + i] = a.w[i * a.w_stride + j];
  }
}

}  // namespace

const SaeKernels& plain_kernels() {
  static const SaeKernels table{.isa = Isa::kScalar,
                                .load_tile = load_tile,
                                .list_nonzeros = nullptr,
                                .shift_bias = shift_bias,
                                .round_tokens = plain_round_tokens,
                                .round_panel = plain_round_panel,
                                .encode_chunk = plain_encode_chunk,
                                .encode_pairs = nullptr,
                                .encode_fixed = nullptr,
                                .fix_panel = nullptr,
                                .fix_tokens = nullptr,
                                .list_keys = nullptr,
                                .select_chunk = nullptr,
                                .select_all = plain_select_all,
                                .decode_token = decode_token,
                                .scatter_token = scatter_token,
                                .learn_tile = nullptr,
                                .add_pairs = add_pairs,
                                .sum_partials = sum_partials,
                                .move_sums = move_sums,
                                .add_scaled = add_scaled,
                                .update_weights = update_weights,
                                .update_rows = update_rows,
                                .pack_panel = pack_panel};
  return table;
}

}  // namespace branchsae::cpu
