// Latents that fill up the last panel are never candidates, however little is positive. The rows and biases
// that candidates are scored with have no room for padding: here what lies behind them would win every
// selection.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "cpu/sae/tile.h"
#include "tests/cpu/sae_levels.h"
#include "tests/sae_cases/sae_cases.h"

using namespace branchsae;
using namespace branchsae::cpu;
using namespace branchsae::test;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

enum class Encode { kFp32, kBf16, kFixed };

/// Packed weights of integers, rows all negative or all positive, and one bias for all.
struct PaddedPanels {
  SaeLayout layout;
  Array<float> rows, packed, bias, scored_bias;
  Array<uint32_t> pairs;
  Array<Fixed> fixed;
  Panels panels;

  PaddedPanels(const SaeSpec& spec, const SaeKernels& kernels, float bias_of_all, bool some_positive)
      : layout(spec),
        rows(layout.n_padded() * layout.d_padded, "rows"),
        packed(layout.n_padded() * layout.d, "packed"),
        bias(layout.n_padded(), "bias"),
        scored_bias(layout.n_padded(), "bias"),
        pairs(layout.n_padded() * divide_up(layout.d, 2), "pairs"),
        fixed(layout.n_padded() * (layout.d + 1), "fixed") {
    const HostTensor weights = integer_tensor({spec.n * layout.d}, 3, 2);
    std::fill_n(bias.data(), layout.n_padded(), -kInfinity);
    std::fill_n(scored_bias.data(), layout.n_padded(), 1e6F);
    double norm = 0;
    for (int64_t i = 0; i < spec.n; ++i) {
      double squares = 0;
      for (int64_t j = 0; j < layout.d; ++j) {
        const float size = 1 + std::abs(weights[i * layout.d + j]);
        const float value = some_positive && i % 11 == 3 ? size : -size;
        rows[i * layout.d_padded + j] = value;
        squares += static_cast<double>(value) * static_cast<double>(value);
      }
      norm = std::max(norm, std::sqrt(squares));
      bias[i] = scored_bias[i] = bias_of_all;
    }
    const FixedFactors factors = fixed_factors(norm, static_cast<double>(std::abs(bias_of_all)));
    for (int64_t q = 0; q < layout.panels; ++q) pack(kernels, q, factors);
    panels = {.weights = packed.data(),
              .pairs = nullptr,
              .bias = bias.data(),
              .fixed = nullptr,
              .fixed_factors = factors,
              .count = layout.panels,
              .latents = spec.n,
              .prefetch = false,
              .rows = rows.data(),
              .row_bias = scored_bias.data(),
              .map = nullptr,
              .largest_norm = norm,
              .largest_rounding = 0,  // small integers are bf16 numbers
              .largest_bias = static_cast<double>(std::abs(bias_of_all))};
  }

  Panels with(Encode encode) const {
    Panels result = panels;
    if (encode == Encode::kBf16) result.pairs = pairs.data();
    if (encode == Encode::kFixed) result.fixed = fixed.data();
    return result;
  }

 private:
  void pack(const SaeKernels& kernels, int64_t q, const FixedFactors& factors) {
    const int64_t first = q * kPanel, d = layout.d;
    float* panel = packed.data() + first * d;
    kernels.pack_panel({rows.data() + first * layout.d_padded, layout.d_padded,
                        std::min(kPanel, layout.n - first), d, panel});
    Array<float> errors(kPanel, "errors");
    kernels.round_panel({panel, d, pairs.data() + first * divide_up(d, 2), errors.data()});
    if (kernels.fix_panel == nullptr) return;
    kernels.fix_panel(
        {panel, bias.data() + first, d, factors.weight, factors.bias, false, fixed.data() + first * (d + 1)});
  }
};

/// Tokens of integers, none negative.
HostTensor tokens_of(int64_t rows, int64_t d, bool sparse) {
  HostTensor x = integer_tensor({rows, d}, 5, 4);
  for (int64_t i = 0; i < x.size(); ++i) x[i] = sparse && i % 5 != 0 ? 0 : 1 + std::abs(x[i]);
  return x;
}

/// u of a latent, exact: sums of small integers.
float pre_activation(const PaddedPanels& p, const HostTensor& x, int64_t t, int64_t i) {
  float sum = p.bias[i];
  for (int64_t j = 0; j < p.layout.d; ++j) sum += p.rows[i * p.layout.d_padded + j] * x[t * p.layout.d + j];
  return sum;
}

reference::Selection expected(const PaddedPanels& p, const HostTensor& x, int64_t t, int64_t k) {
  std::vector<double> u;
  for (int64_t i = 0; i < p.layout.n; ++i) u.push_back(static_cast<double>(pre_activation(p, x, t, i)));
  return reference::select_topk(u, k);
}

reference::Selection selected(const SelectionBuffer& buffer, int64_t t) {
  reference::Selection all;
  for (int64_t i = 0; i < buffer.count(t); ++i)
    all.push_back({buffer.indices(t)[i], static_cast<double>(buffer.values(t)[i])});
  return all;
}

/// Which encodes this level has for such tokens.
std::vector<Encode> encodes(const SaeKernels& kernels, bool sparse) {
  std::vector<Encode> all = {Encode::kFp32};
  if (sparse && kernels.encode_fixed != nullptr) all.push_back(Encode::kFixed);
  if (!sparse && kernels.encode_pairs != nullptr) all.push_back(Encode::kBf16);
  return all;
}

void check_all_encodes(const PaddedPanels& p, const SaeKernels& kernels, const SaeSpec& spec, bool sparse) {
  const int64_t rows = p.layout.tile - 5;
  const HostTensor x = tokens_of(rows, spec.d, sparse);
  for (const Encode encode : encodes(kernels, sparse)) {
    CAPTURE(static_cast<int>(encode));
    TileWorkspace work(p.layout, spec.k, 0, true, encode == Encode::kBf16);
    Array<float> b_pre(p.layout.d_padded, "b_pre"), sums(p.layout.d_padded, "sums");
    load_tile(kernels, p.layout, x.matrix(), 1.0F, b_pre.data(), sums.data(), work);
    encode_topk(kernels, p.with(encode), p.layout, rows, true, work, work.selection, spec.k);
    if (kernels.select_chunk != nullptr) {
      CHECK(work.counts.fixed == (encode == Encode::kFixed ? 1 : 0));
      CHECK(work.counts.bf16 == (encode == Encode::kBf16 ? 1 : 0));
      CHECK(work.counts.sparse == (encode == Encode::kFp32 && sparse ? 1 : 0));
    }
    for (int64_t t = 0; t < rows; ++t) {
      CAPTURE(t);
      CHECK(selected(work.selection, t) == expected(p, x, t, spec.k));
    }
  }
}

}  // namespace

TEST_CASE("padding is never selected, however little is positive") {
  // One chunk, and several: more than 2048 latents.
  for (const int64_t n : {33, 70, 1000, 1025, 2100}) {
    for (const bool some_positive : {false, true}) {
      for (const float bias : {0.0F, -1.0F}) {
        for (const bool sparse : {true, false}) {
          for (const Isa isa : isa_levels()) {
            CAPTURE(n);
            CAPTURE(some_positive);
            CAPTURE(bias);
            CAPTURE(sparse);
            CAPTURE(isa_name(isa));
            SaeSpec spec;
            spec.d = 30, spec.n = n, spec.k = 8;
            const SaeKernels& kernels = sae_kernels(isa);
            check_all_encodes(PaddedPanels(spec, kernels, bias, some_positive), kernels, spec, sparse);
          }
        }
      }
    }
  }
}
