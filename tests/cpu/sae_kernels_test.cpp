// Single kernels of every instruction set: the sparse encode against the dense one bit for bit, and all
// against plain C++ on data whose sums are exact.
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "cpu/sae/kernel_tables.h"
#include "cpu/sae/tile.h"
#include "engine/random.h"
#include "tests/cpu/sae_levels.h"
#include "tests/sae_cases/sae_cases.h"
#include "tests/test_data.h"

using namespace branchsae;
using namespace branchsae::cpu;
using namespace branchsae::test;

namespace {

struct Encoded {
  std::vector<Key> keys, maxima;
  std::vector<uint64_t> masks;
  bool operator==(const Encoded& other) const {
    const auto same = [](const std::vector<Key>& a, const std::vector<Key>& b) {
      const auto positive_zero = [](Key key) {
        return key == std::numeric_limits<Key>::min() ? Key{0} : key;
      };
      return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                        [&](Key x, Key y) { return positive_zero(x) == positive_zero(y); });
    };
    return same(keys, other.keys) && same(maxima, other.maxima) && masks == other.masks;
  }
};

// Real rows of one chunk's results; `run` encodes into the screen it is given.
template <class Run>
Encoded encode(const SaeLayout& layout, int64_t rows, bool first_chunk, TileWorkspace& work, const Run& run) {
  std::vector<float> thresholds(static_cast<size_t>(layout.tile), 0.25F);
  run(Screen{work.keys.data(), layout.key_stride, first_chunk ? work.group_maxima.data() : nullptr,
             thresholds.data(), work.masks.data()});
  Encoded result;
  for (int64_t t = 0; t < rows; ++t) {
    const Key* keys = work.keys.data() + t * layout.key_stride;
    result.keys.insert(result.keys.end(), keys, keys + layout.n);
    const Key* maxima = work.group_maxima.data() + t * kPanel;
    if (first_chunk) result.maxima.insert(result.maxima.end(), maxima, maxima + kPanel);
    const uint64_t* masks = work.masks.data() + t * kChunkPanels;
    if (!first_chunk) result.masks.insert(result.masks.end(), masks, masks + layout.panels);
  }
  return result;
}

Encoded encode(const SaeKernels& kernels, const SaeLayout& layout, int64_t rows, const HostTensor& weights,
               const HostTensor& bias, bool first_chunk, TileWorkspace& work) {
  return encode(layout, rows, first_chunk, work, [&](const Screen& screen) {
    kernels.encode_chunk({work.xs.data(), layout.x_stride, work.sparse ? &work.nonzeros : nullptr,
                          work.sparse ? rows : round_up(rows, kTokenGroup), layout.d, weights.data(),
                          bias.data(), layout.panels, work.sums.data(), true, screen});
  });
}

HostTensor sparse_tokens(int64_t rows, int64_t d, double density, bool integers, uint64_t seed) {
  HostTensor x = integers ? integer_tensor({rows, d}, 4, seed) : normal_tensor({rows, d}, 1, seed);
  Random random(seed, 9);
  for (float& value : x.values()) value = random.uniform() < density ? value : 0.0F;
  return x;
}

// A token's random values, the same for every call.
/// Tokens of a tile and what is selected of them: as many latents as `counts` says.
struct LearnCase {
  static constexpr int64_t kLatents = 96, kMost = 45, kStride = 64;
  int64_t width, x_stride;
  std::vector<int32_t> counts, indices;
  Array<float> w, base, xc, z;

  LearnCase(int64_t width_, std::vector<int32_t> counts_, Random& random)
      : width(width_),
        x_stride(width_ + kLanes),
        counts(std::move(counts_)),
        indices(counts.size() * kStride, -1),
        w(kLatents * width_, "w"),
        base(std::ssize(counts) * x_stride, "base"),
        xc(std::ssize(counts) * x_stride, "xc"),
        z(std::ssize(counts) * kStride, "z") {
    for (Array<float>* array : {&w, &base, &xc, &z}) {
      for (int64_t i = 0; i < array->size(); ++i) (*array)[i] = static_cast<float>(random.normal());
    }
    for (size_t t = 0; t < counts.size(); ++t) {
      for (int32_t i = 0; i < counts[t]; ++i)
        indices[t * kStride + static_cast<size_t>(i)] = i * static_cast<int32_t>(kLatents) / counts[t];
    }
  }
  int64_t rows() const { return std::ssize(counts); }
  Selection selection() { return {kMost, kStride, z.data(), indices.data(), counts.data()}; }
};

struct Learned {
  Array<float> r, r_sums, rows, b_enc;
  std::vector<uint8_t> fired;
  double squares = 0;
  explicit Learned(const LearnCase& c)
      : r(c.base.size(), "r"),
        r_sums(c.width, "sums"),
        rows(LearnCase::kLatents * c.width, "rows"),
        b_enc(LearnCase::kLatents, "b_enc"),
        fired(LearnCase::kLatents) {
    for (Array<float>* array : {&r_sums, &rows, &b_enc}) std::fill_n(array->data(), array->size(), 0.5F);
  }
  bool operator==(const Learned& other) const {
    const auto same = [](const Array<float>& a, const Array<float>& b) {
      return std::memcmp(a.data(), b.data(), static_cast<size_t>(a.size_bytes())) == 0;
    };
    return same(r, other.r) && same(r_sums, other.r_sums) && same(rows, other.rows) &&
           same(b_enc, other.b_enc) && fired == other.fired && squares == other.squares;
  }
};

/// By decode and gradient of one token after another.
Learned learn_apart(const SaeKernels& kernels, LearnCase& c, float factor) {
  Learned result(c);
  Array<float> g(LearnCase::kStride, "g"), zc(LearnCase::kStride, "zc"),
      dot_work(LearnCase::kStride * kLanes, "work");
  for (int64_t t = 0; t < c.rows(); ++t) {
    const float* z = c.z.data() + t * LearnCase::kStride;
    const int32_t* indices = c.indices.data() + t * LearnCase::kStride;
    const int64_t count = c.counts[static_cast<size_t>(t)];
    float* r = result.r.data() + t * c.x_stride;
    result.squares += static_cast<double>(
        kernels.decode_token({z, indices, count, c.w.data(), c.width, c.base.data() + t * c.x_stride, -1.0F,
                              r, result.r_sums.data(), g.data(), dot_work.data(), nullptr, 0}));
    for (int64_t i = 0; i < count; ++i) {
      zc[i] = factor * z[i];
      g[i] *= factor;
      result.b_enc[indices[i]] += g[i];
      result.fired[static_cast<size_t>(indices[i])] = 1;
    }
    kernels.scatter_token({zc.data(), g.data(), indices, count, r, c.xc.data() + t * c.x_stride, c.width,
                           result.rows.data(), nullptr});
  }
  return result;
}

Learned learn_together(const SaeKernels& kernels, LearnCase& c, float factor) {
  Learned result(c);
  Array<float> g(LearnCase::kStride, "g");
  LearnTile tile{};
  tile.rows = c.rows();
  tile.selection = c.selection();
  tile.weights = c.w.data();
  tile.d_padded = c.width;
  tile.base = c.base.data();
  tile.base_sign = -1;
  tile.xc = c.xc.data();
  tile.r = result.r.data();
  tile.x_stride = c.x_stride;
  tile.factor = factor;
  tile.r_sums = result.r_sums.data();
  tile.gradient = result.rows.data();
  tile.b_enc = result.b_enc.data();
  tile.fired = result.fired.data();
  tile.g = g.data();
  result.squares = kernels.learn_tile(tile);
  return result;
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
            TileWorkspace work(layout, spec.k, 0, true, false);
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

TEST_CASE("rounding to bf16 agrees with plain C++ and with what it must be") {
  for (const Isa isa : isa_levels()) {
    const SaeKernels &kernels = sae_kernels(isa), &plain = sae_kernels(Isa::kScalar);
    CAPTURE(isa_name(isa));
    for (const int64_t columns : {1, 2, 16, 31, 64}) {
      CAPTURE(columns);
      const HostTensor panel = normal_tensor({columns * kPanel}, 1, 41);
      const int64_t pairs = divide_up(columns, 2);
      Array<uint32_t> a(pairs * kPanel, "a"), b(pairs * kPanel, "b");
      Array<float> aligned(columns * kPanel, "panel"), a_errors(kPanel, "a"), b_errors(kPanel, "b");
      std::copy_n(panel.data(), columns * kPanel, aligned.data());
      kernels.round_panel({aligned.data(), columns, a.data(), a_errors.data()});
      plain.round_panel({aligned.data(), columns, b.data(), b_errors.data()});
      CHECK(std::equal(a.data(), a.data() + a.size(), b.data()));
      for (int64_t c = 0; c < kPanel; ++c) {
        double expected = 0;
        for (int64_t j = 0; j < columns; ++j) {
          const uint32_t pair = a[j / 2 * kPanel + c];
          const float rounded = std::bit_cast<float>(j % 2 == 0 ? pair << 16 : pair & 0xffff0000U);
          const double error = static_cast<double>(rounded) - static_cast<double>(panel[j * kPanel + c]);
          // Half of the last of 8 bits.
          CHECK(std::abs(error) <= std::abs(static_cast<double>(panel[j * kPanel + c])) * 0x1p-8);
          expected += error * error;
        }
        CHECK(static_cast<double>(a_errors[c]) == doctest::Approx(expected).epsilon(1e-5));
        CHECK(static_cast<double>(b_errors[c]) == doctest::Approx(expected).epsilon(1e-5));
      }
    }
    const int64_t rows = 7, d = 48, stride = 64;
    const HostTensor x = normal_tensor({rows * stride}, 1, 42);
    Array<float> tokens(rows * stride, "x"), squares(rows, "s"), errors(rows, "e"), squares2(rows, "s");
    Array<float> errors2(rows, "e");
    std::copy_n(x.data(), rows * stride, tokens.data());
    Array<uint32_t> pairs(rows * stride, "p"), pairs2(rows * stride, "p");
    kernels.round_tokens(
        {tokens.data(), stride, rows, d, squares.data(), pairs.data(), stride, errors.data()});
    plain.round_tokens(
        {tokens.data(), stride, rows, d, squares2.data(), pairs2.data(), stride, errors2.data()});
    CHECK(std::equal(pairs.data(), pairs.data() + pairs.size(), pairs2.data()));
    for (int64_t t = 0; t < rows; ++t) {
      CHECK(squares[t] == doctest::Approx(squares2[t]).epsilon(1e-5));
      CHECK(errors[t] == doctest::Approx(errors2[t]).epsilon(1e-5));
    }
  }
}

TEST_CASE("the encode of bf16 pairs agrees with plain C++ on integers") {
  const SaeKernels& kernels = sae_kernels(Isa::kAvx512Bf16);
  if (kernels.encode_pairs == nullptr) {
    skip("this processor does not multiply bf16");
    return;
  }
  for (const int64_t d : {1, 2, 16, 31, 64, 130}) {
    for (const int64_t panels : {1, 2, 16}) {
      CAPTURE(d);
      CAPTURE(panels);
      SaeSpec spec;
      spec.d = d, spec.n = panels * kPanel, spec.k = 8;
      const SaeLayout layout(spec);
      const int64_t rows = layout.tile - 5, pairs = divide_up(d, 2);
      TileWorkspace work(layout, spec.k, 0, true, true);
      const HostTensor weights = integer_tensor({spec.n * d}, 7, 2), bias = integer_tensor({spec.n}, 3, 3);
      const HostTensor x = integer_tensor({rows, d}, 9, 4);
      Array<uint32_t> rounded(panels * pairs * kPanel, "pairs");
      Array<float> errors(kPanel, "errors"), b_pre(layout.d_padded, "b_pre"), sums(layout.d_padded, "sums");
      for (int64_t q = 0; q < panels; ++q) {
        kernels.round_panel(
            {weights.data() + q * d * kPanel, d, rounded.data() + q * pairs * kPanel, errors.data()});
      }
      load_tile(kernels, layout, x.matrix(), 1.0F, b_pre.data(), sums.data(), work);
      REQUIRE(!work.sparse);
      for (const bool first_chunk : {true, false}) {
        const auto run = [&](auto* function) {
          return encode(layout, rows, first_chunk, work, [&](const Screen& screen) {
            function({work.pairs.data(), work.pair_stride, round_up(rows, kTokenGroup), pairs, rounded.data(),
                      bias.data(), panels, true, screen});
          });
        };
        const Encoded actual = run(kernels.encode_pairs);
        CHECK(actual == run(plain_encode_pairs));
        // These integers are bf16 numbers: fp32 must agree.
        CHECK(actual == encode(kernels, layout, rows, weights, bias, first_chunk, work));
      }
    }
  }
}

TEST_CASE("the sparse encode in fixed point agrees with plain C++") {
  for (const Isa isa : isa_levels()) {
    const SaeKernels& kernels = sae_kernels(isa);
    if (kernels.encode_fixed == nullptr) continue;
    for (const int64_t d : {1, 16, 30, 64, 130, 300}) {
      for (const int64_t panels : {1, 2, 5, 16}) {
        for (const double density : {0.0, 0.1, 0.3}) {
          CAPTURE(isa_name(isa));
          CAPTURE(d);
          CAPTURE(panels);
          CAPTURE(density);
          SaeSpec spec;
          spec.d = d, spec.n = panels * kPanel, spec.k = 8;
          const SaeLayout layout(spec);
          const int64_t rows = layout.tile - 5, size = (d + 1) * kPanel;
          TileWorkspace work(layout, spec.k, 0, true, false);
          const HostTensor weights = normal_tensor({spec.n * d}, 1, 2),
                           x = sparse_tokens(rows, d, density, false, 4);
          HostTensor bias = normal_tensor({spec.n}, 1, 3);
          bias[spec.n - 1] = -std::numeric_limits<float>::infinity();
          Array<Fixed> fixed(panels * size, "fixed"), plain(panels * size, "plain");
          for (int64_t q = 0; q < panels; ++q) {
            FixPanel panel{
                weights.data() + q * d * kPanel, bias.data() + q * kPanel, d, 300, 4000, true, nullptr};
            panel.fixed = plain.data() + q * size;
            kernels.fix_panel(panel);
            panel.fixed = fixed.data() + q * size, panel.shared = false;
            kernels.fix_panel(panel);
            CHECK(std::equal(panel.fixed, panel.fixed + size, plain.data() + q * size));
            panel.fixed = plain.data() + q * size;
            plain_fix_panel(panel);
          }
          CHECK(std::equal(fixed.data(), fixed.data() + fixed.size(), plain.data()));
          CHECK(fixed[fixed.size() - 1] == std::numeric_limits<Fixed>::min());
          CHECK(std::abs(static_cast<float>(fixed[0]) - 300 * weights[0]) <= 0.5F);

          Array<float> b_pre(layout.d_padded, "b_pre"), sums(layout.d_padded, "sums");
          load_tile(kernels, layout, x.matrix(), 1.0F, b_pre.data(), sums.data(), work);
          if (!work.sparse) continue;  // few columns may hold more than the share by chance
          std::vector<float> factors, units;
          std::vector<Fixed> bias_factors;
          for (int64_t t = 0; t < rows; ++t) {
            factors.push_back(500 + static_cast<float>(t));
            units.push_back(1 / 1024.0F);
            bias_factors.push_back(static_cast<Fixed>(2000 + t));
          }
          Array<uint32_t> plain_values(work.fixed_values.size(), "values");
          kernels.fix_tokens({&work.nonzeros, rows, factors.data(), work.fixed_values.data()});
          plain_fix_tokens({&work.nonzeros, rows, factors.data(), plain_values.data()});
          for (const bool first_chunk : {true, false}) {
            const auto run = [&](auto* function, const Array<uint32_t>& values) {
              return encode(layout, rows, first_chunk, work, [&](Screen screen) {
                screen.units = units.data();
                function({&work.nonzeros, values.data(), bias_factors.data(), rows, d, fixed.data(), panels,
                          screen});
              });
            };
            CHECK(run(kernels.encode_fixed, work.fixed_values) == run(plain_encode_fixed, plain_values));
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

TEST_CASE("decode and gradient in one go give the bits of the two apart") {
  Random random(5, 0);
  const std::vector<std::vector<int32_t>> tiles = {
      {32}, {0}, {32, 32, 32}, {45, 0, 1, 2, 17, 16, 15, 45}, {1, 45, 3}, {0, 0, 2, 0}};
  for (const Isa isa : isa_levels()) {
    const SaeKernels& kernels = sae_kernels(isa);
    if (kernels.learn_tile == nullptr) continue;
    for (int64_t width = kLanes; width <= kNarrowColumns; width += kLanes) {
      for (size_t i = 0; i < tiles.size(); ++i) {
        CAPTURE(isa_name(isa));
        CAPTURE(width);
        CAPTURE(i);
        LearnCase c(width, tiles[i], random);
        CHECK(learn_together(kernels, c, 0.3F) == learn_apart(kernels, c, 0.3F));
      }
    }
  }
}

// The gradient rows of latents 64 to 127 that some tokens' pairs add up to; integers, so that no order of the
// sums shows.
HostTensor added_pairs(const SaeKernels& kernels, int64_t width, bool tied) {
  constexpr int64_t kTokens = 50, kRange = 64, kStride = 9;
  const int64_t slice_stride = width + 16;
  const HostTensor slice = integer_tensor({kTokens * 2 * slice_stride}, 5, 3);
  std::vector<int32_t> bounds, latents(kTokens * kStride, -1);
  std::vector<float> zc(kTokens * kStride, 1e9F), g = zc;  // outside of the bounds nothing may be read
  for (int64_t t = 0; t < kTokens; ++t) {
    const int64_t begin = t % 3, count = t % 7;
    bounds.insert(bounds.end(), {static_cast<int32_t>(begin), static_cast<int32_t>(begin + count), -1});
    for (int64_t i = t * kStride + begin; i < t * kStride + begin + count; ++i) {
      latents[static_cast<size_t>(i)] = static_cast<int32_t>(kRange + (i * 11) % kRange);
      zc[static_cast<size_t>(i)] = static_cast<float>(i % 5);
      g[static_cast<size_t>(i)] = static_cast<float>(i % 3);
    }
  }
  HostTensor rows = integer_tensor({2 * kRange, width}, 3, 7);
  kernels.add_pairs({{kTokens, bounds.data(), 3, latents.data(), zc.data(), g.data(), kStride, kRange},
                     slice.data(),
                     slice_stride,
                     width,
                     rows.data(),
                     tied ? nullptr : rows.data() + kRange * width});
  return rows;
}

TEST_CASE("keys above a bound are listed in order") {
  bool listed = false;
  for (const Isa isa : isa_levels()) {
    const SaeKernels& kernels = sae_kernels(isa);
    if (kernels.list_keys == nullptr) continue;
    listed = true;
    Random random(5, 0);
    for (const int64_t columns : {int64_t{64}, int64_t{1024}, kChunk}) {
      for (const int bound : {-32768, -1, 0, 16000, 32000, 32767}) {
        Array<Key> keys(columns, "keys");
        for (int64_t c = 0; c < columns; ++c) keys[c] = static_cast<Key>(random.below(65536));
        std::vector<int32_t> expected, found(static_cast<size_t>(columns + kLanes));
        for (int64_t c = 0; c < columns; ++c) {
          if (keys[c] > bound) expected.push_back(static_cast<int32_t>(700 + c));
        }
        const int64_t count =
            kernels.list_keys({keys.data(), columns, static_cast<Key>(bound), 700, found.data()});
        found.resize(static_cast<size_t>(count));
        CHECK(found == expected);
      }
    }
  }
  if (!listed) skip("this processor has no VBMI2");
}

// What update_rows leaves of rows with gaps between them.
struct UpdatedRows {
  UpdatedRows(const SaeKernels& kernels, int64_t rows, int64_t width, bool biases, bool shared)
      : gradient(normal_tensor({rows, width}, 1, 4)),
        w(normal_tensor({rows, width + 16}, 1, 5)),
        m(normal_tensor({rows, width}, 1, 6)),
        v({rows, width}),
        b_pre_sums({width}),
        squares({rows}) {
    const HostTensor bias = normal_tensor({rows}, 1, 7);
    for (int64_t i = 0; i < rows * width; ++i) v[i] = m[i] * m[i];
    kernels.update_rows({gradient.data(),
                         rows,
                         width,
                         w.data(),
                         width + 16,
                         shared,
                         m.data(),
                         v.data(),
                         biases ? bias.data() : nullptr,
                         biases ? b_pre_sums.data() : nullptr,
                         squares.data(),
                         {0.9F, 0.999F, 1e-8F, 0.02F, 1.5F}});
  }
  HostTensor gradient, w, m, v, b_pre_sums, squares;
};

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
    for (const int64_t width : {16, 32, 48, 64, 80, 528}) {
      for (const bool tied : {true, false}) {
        const HostTensor a = added_pairs(kernels, width, tied), b = added_pairs(plain, width, tied);
        CHECK(std::equal(a.values().begin(), a.values().end(), b.values().begin()));
      }
    }
    for (const int64_t width : {16, 48, 1024}) {
      // Slots 3 and 0, then slot 2; slot 1 holds nothing of it.
      const int32_t first[] = {3, 0}, second[] = {2};
      const HostTensor start = normal_tensor({4, width}, 1, 9);
      HostTensor a = start.clone(), b = start.clone(), a_sum({width}), b_sum({width});
      kernels.sum_partials({a.data(), width, {first, second}, {2, 1}, width, a_sum.data()});
      plain.sum_partials({b.data(), width, {first, second}, {2, 1}, width, b_sum.data()});
      CHECK(std::equal(a_sum.values().begin(), a_sum.values().end(), b_sum.values().begin()));
      CHECK(a_sum[width - 1] == start[4 * width - 1] + start[width - 1] + start[3 * width - 1]);
      for (int64_t i = 0; i < 4 * width; ++i) {
        const float left = i / width == 1 ? start[i] : 0;
        CHECK((a[i] == left && b[i] == left));
      }
      HostTensor from = start.clone(), to = normal_tensor({4, width}, 1, 10);
      const HostTensor before = to.clone();
      kernels.move_sums(from.data(), to.data(), 3 * width);
      for (int64_t i = 0; i < 4 * width; ++i) {
        const bool moved = i < 3 * width;
        CHECK((from[i] == (moved ? 0 : start[i]) && to[i] == (moved ? before[i] + start[i] : before[i])));
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
    for (const int64_t rows : {1, 7, 64}) {
      for (const bool biases : {true, false}) {
        const UpdatedRows a(kernels, rows, 48, biases, false), b(plain, rows, 48, biases, false);
        const UpdatedRows shared(kernels, rows, 48, biases, true);
        for (const auto& [one, other] : {std::pair{&a.w, &shared.w},
                                         {&a.m, &shared.m},
                                         {&a.v, &shared.v},
                                         {&a.b_pre_sums, &shared.b_pre_sums},
                                         {&a.squares, &shared.squares}})
          CHECK(std::equal(one->values().begin(), one->values().end(), other->values().begin()));
        for (const UpdatedRows* updated : {&a, &b, &shared}) {
          for (int64_t i = 0; i < rows; ++i)
            CHECK(std::equal(updated->gradient.data() + i * 48, updated->gradient.data() + (i + 1) * 48,
                             updated->w.data() + i * 64));
        }
        for (const auto& [one, other] : {std::pair{&a.w, &b.w},
                                         {&a.m, &b.m},
                                         {&a.v, &b.v},
                                         {&a.b_pre_sums, &b.b_pre_sums},
                                         {&a.squares, &b.squares}})
          CHECK(relative_difference(one->values(), other->values()) < 1e-6);
        CHECK(biases == (relative_difference(a.b_pre_sums.values(), HostTensor({48}).values()) > 0));
      }
    }
  }
}
