// Single kernels of every instruction set: the sparse encode against the dense one bit for bit, and all
// against plain C++ on data whose sums are exact.
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>

#include "cpu/sae/tile.h"
#include "engine/random.h"
#include "tests/cpu/sae_levels.h"
#include "tests/sae_cases/sae_cases.h"

using namespace branchsae;
using namespace branchsae::cpu;
using namespace branchsae::test;

namespace {

struct Encoded {
  std::vector<float> p, maxima;
  std::vector<uint64_t> masks;
  bool operator==(const Encoded& other) const {
    const auto same = [](const std::vector<float>& a, const std::vector<float>& b) {
      return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](float x, float y) {
        return std::bit_cast<uint32_t>(x + 0.0F) ==
               std::bit_cast<uint32_t>(y + 0.0F);  // zeros of either sign
      });
    };
    return same(p, other.p) && same(maxima, other.maxima) && masks == other.masks;
  }
};

// Real rows of one chunk's results.
Encoded encode(const SaeKernels& kernels, const SaeLayout& layout, int64_t rows, const HostTensor& weights,
               const HostTensor& bias, bool first_chunk, TileWorkspace& work) {
  std::vector<float> thresholds(static_cast<size_t>(layout.tile), 0.25F);
  const EncodeChunk chunk{work.xs.data(),
                          layout.x_stride,
                          work.sparse ? &work.nonzeros : nullptr,
                          work.sparse ? rows : round_up(rows, kTokenGroup),
                          layout.d,
                          weights.data(),
                          bias.data(),
                          layout.panels,
                          work.p.data(),
                          first_chunk ? work.group_maxima.data() : nullptr,
                          thresholds.data(),
                          work.masks.data(),
                          true};
  kernels.encode_chunk(chunk);
  Encoded result;
  for (int64_t t = 0; t < rows; ++t) {
    const float* p = work.p.data() + t * kTileStride;
    result.p.insert(result.p.end(), p, p + layout.n);
    const float* maxima = work.group_maxima.data() + t * kPanel;
    if (first_chunk) result.maxima.insert(result.maxima.end(), maxima, maxima + kPanel);
    const uint64_t* masks = work.masks.data() + t * kChunkPanels;
    if (!first_chunk) result.masks.insert(result.masks.end(), masks, masks + layout.panels);
  }
  return result;
}

HostTensor sparse_tokens(int64_t rows, int64_t d, double density, bool integers, uint64_t seed) {
  HostTensor x = integers ? integer_tensor({rows, d}, 4, seed) : normal_tensor({rows, d}, 1, seed);
  Random random(seed, 9);
  for (float& value : x.values()) value = random.uniform() < density ? value : 0.0F;
  return x;
}

}  // namespace

TEST_CASE("sparse and dense encode give the same bits, and plain C++ the same on integers") {
  for (const Isa isa : isa_levels()) {
    const SaeKernels& kernels = sae_kernels(isa);
    for (const int64_t d : {1, 16, 30, 64, 100, 128, 200, 300}) {
      for (const int64_t panels : {1, 2, 5}) {
        for (const bool integers : {false, true}) {
          for (const double density : {0.0, 0.1, 0.3}) {
            CAPTURE(isa_name(isa));
            CAPTURE(d);
            CAPTURE(panels);
            CAPTURE(density);
            SaeSpec spec;
            spec.d = d, spec.n = panels * kPanel, spec.k = 8;
            const SaeLayout layout(spec);
            const int64_t rows = layout.tile - 5;
            TileWorkspace work(layout, spec.k, 0);
            const HostTensor weights =
                integers ? integer_tensor({spec.n * d}, 3, 2) : normal_tensor({spec.n * d}, 1, 2);
            const HostTensor bias = integers ? integer_tensor({spec.n}, 3, 3) : normal_tensor({spec.n}, 1, 3);
            const HostTensor x = sparse_tokens(rows, d, density, integers, 4);
            std::vector<float> sums(static_cast<size_t>(layout.d_padded));
            Array<float> b_pre(layout.d_padded, "b_pre"), column_sums(layout.d_padded, "sums");
            load_tile(kernels, layout, x.matrix(), 1.0F, b_pre.data(), column_sums.data(), work);
            const bool sparse = work.sparse;
            CHECK((sparse || isa == Isa::kScalar ||
                   d < 30));  // few columns may hold more than the share by chance
            for (const bool first_chunk : {true, false}) {
              const Encoded one = encode(kernels, layout, rows, weights, bias, first_chunk, work);
              work.sparse = false;
              CHECK(encode(kernels, layout, rows, weights, bias, first_chunk, work) == one);
              if (integers)
                CHECK(encode(sae_kernels(Isa::kScalar), layout, rows, weights, bias, first_chunk, work) ==
                      one);
              work.sparse = sparse;
            }
          }
        }
      }
    }
  }
}

TEST_CASE("gradients on sparse tokens agree with the reference") {
  for (const Isa isa : isa_levels()) {
    const SimdScope simd(isa);
    for (const int64_t d : {48, 300}) {
      CAPTURE(isa_name(isa));
      CAPTURE(d);
      SaeSpec spec;
      spec.d = d, spec.n = 9 * d, spec.k = 16, spec.max_batch = 150;
      const SaeParameters parameters = random_parameters(spec, 5);
      HostTensor x = sparse_tokens(150, d, 0.2, false, 6);
      // Dense tokens among the sparse ones: tiles of both kinds in one batch.
      for (int64_t i = 100 * d; i < 150 * d; ++i) x[i] += 1;
      reference::Sae sae(spec);
      sae.load(parameters);
      const auto executor = make_loaded(spec, parameters, 2);
      const auto selected = encode_lists(*executor, x.matrix(), spec.k);
      const reference::SaeResult expected = sae.gradients(x.matrix(), {}, &selected);
      const SaeGradients actual = executor->gradients_sync(x.matrix(), {});
      CHECK(actual.loss == doctest::Approx(expected.loss).epsilon(1e-6));
      // Single-precision sums: 6e-8 times the square root of the terms.
      CHECK(relative_difference(actual.w.values(), expected.gradients.w) < 1e-5);
      CHECK(relative_difference(actual.b_enc.values(), expected.gradients.b_enc) < 1e-5);
      CHECK(relative_difference(actual.b_pre.values(), expected.gradients.b_pre) < 1e-5);
    }
  }
}

TEST_CASE("packing, sums and Adam agree with plain C++") {
  for (const Isa isa : isa_levels()) {
    const SaeKernels &kernels = sae_kernels(isa), &plain = sae_kernels(Isa::kScalar);
    CAPTURE(isa_name(isa));
    for (const int64_t rows : {1, 7, 61, 64}) {
      for (const int64_t columns : {1, 5, 16, 48}) {
        const HostTensor w = normal_tensor({rows, columns + 3}, 1, 2);
        std::vector<float> a(static_cast<size_t>(columns * kPanel), -1.0F), b = a;
        kernels.pack_panel({w.data(), columns + 3, rows, columns, a.data()});
        plain.pack_panel({w.data(), columns + 3, rows, columns, b.data()});
        CHECK(a == b);
      }
    }
    for (const int64_t width : {16, 32, 48, 80, 528}) {
      for (const int64_t count : {0, 1, 2, 9, 40}) {
        for (const bool tied : {true, false}) {
          const int64_t tokens = 50, stride = width + 16;
          const HostTensor slice = integer_tensor({tokens * 2 * stride}, 5, 3);
          std::vector<Pair> pairs;
          for (int64_t i = 0; i < count; ++i)
            pairs.push_back({static_cast<int32_t>((i * 7) % tokens), static_cast<float>(i % 5),
                             static_cast<float>(i % 3)});
          HostTensor a({2, width}), b({2, width});
          const auto run = [&](const SaeKernels& k, HostTensor& out) {
            return k.sum_pairs({pairs.data(), count, slice.data(), stride, width, out.data(),
                                tied ? nullptr : out.data() + width});
          };
          CHECK(run(kernels, a) == run(plain, b));
          CHECK(std::equal(a.values().begin(), a.values().end(), b.values().begin()));
        }
      }
    }
    for (const int64_t count : {1, 15, 16, 47, 64}) {
      const HostTensor gradient = normal_tensor({count}, 1, 4);
      HostTensor w = normal_tensor({count}, 1, 5), m = normal_tensor({count}, 1, 6), v({count});
      for (int64_t i = 0; i < count; ++i) v[i] = m[i] * m[i];
      HostTensor w2 = w.clone(), m2 = m.clone(), v2 = v.clone();
      const AdamFactors adam{0.9F, 0.999F, 1e-8F, 0.02F, 1.5F};
      kernels.update_weights({gradient.data(), w.data(), m.data(), v.data(), count, adam});
      plain.update_weights({gradient.data(), w2.data(), m2.data(), v2.data(), count, adam});
      // A fused multiply-add rounds once where plain C++ rounds twice.
      CHECK(relative_difference(w.values(), w2.values()) < 1e-6);
      CHECK(relative_difference(m.values(), m2.values()) < 1e-6);
      CHECK(relative_difference(v.values(), v2.values()) < 1e-6);
    }
  }
}
