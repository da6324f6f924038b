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

float sum_pairs(const SumPairs& a) {
  float* dec = a.gradient_dec == nullptr ? a.gradient : a.gradient_dec;
  std::fill_n(a.gradient, a.width, 0.0F);
  std::fill_n(dec, a.width, 0.0F);
  float sum = 0;
  for (int64_t i = 0; i < a.count; ++i) {
    const Pair& pair = a.pairs[i];
    const float* r = a.slice + pair.token * 2 * a.slice_stride;
    const float* xc = r + a.slice_stride;
    for (int64_t j = 0; j < a.width; ++j) dec[j] += pair.zc * r[j];
    for (int64_t j = 0; j < a.width; ++j) a.gradient[j] += pair.g * xc[j];
    sum += pair.g;
  }
  return sum;
}

void sum_partials(float* partials, int64_t stride, int64_t count, int64_t width, float* target) {
  std::fill_n(target, width, 0.0F);
  for (int64_t q = 0; q < count; ++q) {
    for (int64_t j = 0; j < width; ++j) target[j] += std::exchange(partials[q * stride + j], 0.0F);
  }
}

void add_scaled(float a, const float* x, float* y, int64_t width) {
  for (int64_t j = 0; j < width; ++j) y[j] += a * x[j];
}

float update_weights(const UpdateWeights& a) {
  const AdamFactors& f = a.adam;
  float squares = 0;
  for (int64_t j = 0; j < a.count; ++j) {
    const float gradient = a.gradient[j];
    a.m[j] = f.beta1 * a.m[j] + (1 - f.beta1) * gradient;
    a.v[j] = f.beta2 * a.v[j] + (1 - f.beta2) * gradient * gradient;
    // 0 / 0 is 0 when epsilon is 0.
    const float divisor = std::max(std::sqrt(a.v[j] * f.inverse_bias2) + f.epsilon, FLT_MIN);
    a.w[j] -= f.step_size * a.m[j] / divisor;
    squares += a.w[j] * a.w[j];
  }
  return squares;
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
                                .select_chunk = nullptr,
                                .select_all = plain_select_all,
                                .decode_token = decode_token,
                                .scatter_token = scatter_token,
                                .learn_token = nullptr,
                                .sum_pairs = sum_pairs,
                                .sum_partials = sum_partials,
                                .add_scaled = add_scaled,
                                .update_weights = update_weights,
                                .pack_panel = pack_panel};
  return table;
}

}  // namespace branchsae::cpu
