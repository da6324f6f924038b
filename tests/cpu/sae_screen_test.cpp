// Screening never changes what is selected: of all pre-activations, as the encode gives them for k = n, those
// kept for a smaller k must be the largest, bit for bit, on data made to break the error bounds; and the bits
// must not depend on how a tile was encoded.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "cpu/sae/sae_executor.h"
#include "engine/random.h"
#include "tests/cpu/sae_levels.h"
#include "tests/sae_cases/sae_cases.h"
#include "tests/test_data.h"

using namespace branchsae;
using namespace branchsae::test;
using reference::Selection;

namespace {

struct Data {
  const char* name;
  std::function<void(const SaeSpec&, SaeParameters&, HostTensor& x)> change;
};

// Row i becomes row 0, changed by so much.
void nearly_equal_rows(const SaeSpec& spec, SaeParameters& p, float change) {
  Random random(5, 1);
  for (int64_t i = 0; i < spec.n; ++i) {
    for (int64_t j = 0; j < spec.d; ++j)
      p.w[i * spec.d + j] = p.w[j] * (1 + change * static_cast<float>(random.normal()));
  }
}

// Every token takes the first row's direction, so that what is nearly equal is also large.
void point_tokens(const SaeSpec& spec, const SaeParameters& p, HostTensor& x) {
  for (int64_t t = 0; t < x.dim(0); ++t) {
    for (int64_t j = 0; j < spec.d; ++j) x[t * spec.d + j] += 4 * p.w[j];
  }
}

void scale_by_powers(std::span<float> values, int64_t width, int most) {
  Random random(6, 2);
  for (size_t begin = 0; begin < values.size(); begin += static_cast<size_t>(width)) {
    const float factor =
        std::ldexp(1.0F, static_cast<int>(random.below(static_cast<uint64_t>(2 * most + 1))) - most);
    for (size_t j = 0; j < static_cast<size_t>(width); ++j) values[begin + j] *= factor;
  }
}

void no_biases(SaeParameters& p) {
  for (float& b : p.b_enc.values()) b = 0;
  for (float& b : p.b_pre.values()) b = 0;
}

const std::vector<Data>& data_sets() {
  static const std::vector<Data> all = {
      {"normal", [](const SaeSpec&, SaeParameters&, HostTensor&) {}},
      {"nearly equal rows",
       [](const SaeSpec& spec, SaeParameters& p, HostTensor& x) {
         nearly_equal_rows(spec, p, 1e-3F);
         point_tokens(spec, p, x);
       }},
      {"rows equal up to the last bits",
       [](const SaeSpec& spec, SaeParameters& p, HostTensor& x) {
         nearly_equal_rows(spec, p, 2e-7F);
         point_tokens(spec, p, x);
       }},
      {"equal rows",
       [](const SaeSpec& spec, SaeParameters& p, HostTensor& x) {
         nearly_equal_rows(spec, p, 0);
         point_tokens(spec, p, x);
       }},
      {"half of the rows equal",
       [](const SaeSpec& spec, SaeParameters& p, HostTensor& x) {
         for (int64_t i = 2; i < spec.n; i += 2) std::copy_n(p.w.data(), spec.d, p.w.data() + i * spec.d);
         point_tokens(spec, p, x);
       }},
      {"rows of very different lengths",
       [](const SaeSpec& spec, SaeParameters& p, HostTensor&) { scale_by_powers(p.w.values(), spec.d, 12); }},
      {"one long row",
       [](const SaeSpec& spec, SaeParameters& p, HostTensor&) {
         for (int64_t j = 0; j < spec.d; ++j) p.w[spec.d + j] *= 1e4F;
       }},
      {"weights of very different sizes",
       [](const SaeSpec&, SaeParameters& p, HostTensor& x) {
         scale_by_powers(p.w.values(), 1, 40);
         scale_by_powers(x.values(), 1, 20);
       }},
      {"tokens of very different lengths",
       [](const SaeSpec& spec, SaeParameters&, HostTensor& x) { scale_by_powers(x.values(), spec.d, 60); }},
      {"tiny tokens, no biases",
       [](const SaeSpec&, SaeParameters& p, HostTensor& x) {
         no_biases(p);
         for (float& value : x.values()) value *= 1e-30F;
       }},
      {"denormal tokens and weights, no biases",
       [](const SaeSpec&, SaeParameters& p, HostTensor& x) {
         no_biases(p);
         for (float& value : x.values()) value *= 1e-20F;
         for (float& value : p.w.values()) value *= 1e-22F;
       }},
      {"large biases",
       [](const SaeSpec&, SaeParameters& p, HostTensor&) {
         for (float& b : p.b_enc.values()) b *= 1e5F;
       }},
      {"few positive",
       [](const SaeSpec&, SaeParameters& p, HostTensor&) {
         for (float& b : p.b_enc.values()) b -= 6;
       }},
      {"zero tokens", [](const SaeSpec&, SaeParameters&,
                         HostTensor& x) { std::fill(x.values().begin(), x.values().end(), 0.0F); }},
      {"zero tokens, no biases",
       [](const SaeSpec&, SaeParameters& p, HostTensor& x) {
         no_biases(p);
         std::fill(x.values().begin(), x.values().end(), 0.0F);
       }},
      {"large",
       [](const SaeSpec&, SaeParameters& p, HostTensor& x) {
         for (float& value : x.values()) value *= 1e17F;
         for (float& value : p.w.values()) value *= 1e17F;
       }},
  };
  return all;
}

// Every set as it is, and with few nonzeros.
struct Case {
  const Data& data;
  double share;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const Data& data : data_sets()) {
    for (const double share : {1.0, 0.2}) all.push_back({data, share});
  }
  return all;
}

void leave(double share, HostTensor& x) {
  Random random(7, 3);
  for (float& value : x.values()) value = random.uniform() < share ? value : 0.0F;
}

Selection largest(Selection all, int64_t k) {
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.value > b.value; });
  if (static_cast<int64_t>(all.size()) > k) all.resize(static_cast<size_t>(k));
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.latent < b.latent; });
  return all;
}

SaeSpec spec_of(int64_t d, int64_t n) {
  SaeSpec spec;
  spec.d = d, spec.n = n, spec.k = 32, spec.max_batch = 101;
  return spec;
}

}  // namespace

TEST_CASE("what is kept are the largest of all pre-activations, bit for bit") {
  struct Size {
    int64_t d, n;
  };
  // Odd widths, ragged panels, one chunk and several; few columns make ties, many make wide bounds.
  const Size sizes[] = {{1, 70}, {3, 1024}, {33, 1000}, {64, 1024}, {65, 2100}, {200, 2049}};
  for (const cpu::Isa isa : isa_levels()) {
    const SimdScope simd(isa);
    for (const Size& size : sizes) {
      for (const auto& [data, share] : cases()) {
        CAPTURE(cpu::isa_name(isa));
        CAPTURE(size.d);
        CAPTURE(size.n);
        CAPTURE(data.name);
        CAPTURE(share);
        const SaeSpec spec = spec_of(size.d, size.n);
        SaeParameters parameters = random_parameters(spec, 3);
        HostTensor x = normal_tensor({13, spec.d}, 1, 4);
        data.change(spec, parameters, x);
        leave(share, x);
        const auto sae = make_loaded(spec, parameters, 1);
        const std::vector<Selection> all = encode_lists(*sae, x, spec.n);
        for (const int64_t k : {int64_t{1}, int64_t{7}, int64_t{32}, int64_t{64}, spec.n / 2 + 1}) {
          CAPTURE(k);
          const std::vector<Selection> kept = encode_lists(*sae, x, k);
          for (size_t t = 0; t < kept.size(); ++t) {
            CAPTURE(t);
            CHECK(kept[t] == largest(all[t], k));
          }
        }
      }
    }
  }
}

TEST_CASE("sparse, dense and bf16 tiles give the same bits, and so do both kinds of AVX-512") {
  const cpu::Isa best = cpu::best_isa();
  for (const cpu::Isa isa : isa_levels()) {
    for (const int64_t d : {33, 64, 150}) {
      const SaeSpec spec = spec_of(d, 17 * d);
      const SaeParameters parameters = random_parameters(spec, 8);
      // Few nonzeros alone; among dense tokens the same tokens are encoded like those.
      HostTensor sparse = normal_tensor({96, d}, 1, 9), mixed = normal_tensor({96, d}, 1, 10);
      Random random(11, 0);
      for (float& value : sparse.values()) value = random.uniform() < 0.2 ? value : 0.0F;
      for (int64_t t = 0; t < 96; t += 4) std::copy_n(sparse.data() + t * d, d, mixed.data() + t * d);
      const SimdScope simd(isa);
      const auto sae = make_loaded(spec, parameters, 1);
      cpu::take_encode_counts(*sae);
      const auto from_sparse = encode_lists(*sae, sparse, 32);
      const cpu::EncodeCounts sparse_counts = cpu::take_encode_counts(*sae);
      const auto from_mixed = encode_lists(*sae, mixed, 32);
      const cpu::EncodeCounts mixed_counts = cpu::take_encode_counts(*sae);
      CAPTURE(cpu::isa_name(isa));
      CAPTURE(d);
      if (isa != cpu::Isa::kScalar) {
        CHECK(sparse_counts.fixed > 0);
        CHECK(sparse_counts.dense + sparse_counts.sparse + sparse_counts.bf16 == 0);
        CHECK(sparse_counts.scored_tokens == 0);
        CHECK(mixed_counts.sparse + mixed_counts.fixed == 0);
        CHECK((isa == cpu::Isa::kAvx512Bf16 ? mixed_counts.bf16 : mixed_counts.dense) > 0);
        CHECK(mixed_counts.scored_tokens == 0);  // the bounds leave few candidates on such data
      }
      for (size_t t = 0; t < 96; t += 4) CHECK(from_sparse[t] == from_mixed[t]);
      if (isa != cpu::Isa::kAvx512 || best != cpu::Isa::kAvx512Bf16) continue;
      const SimdScope bf16(best);
      CHECK(encode_lists(*make_loaded(spec, parameters, 1), mixed, 32) == from_mixed);
    }
  }
}

TEST_CASE("training gives the same bytes with and without bf16") {
  if (cpu::best_isa() != cpu::Isa::kAvx512Bf16) {
    skip("this processor does not multiply bf16");
    return;
  }
  for (const SameBytesSetup& setup : kSameBytesSetups) {
    CAPTURE(setup.name);
    const SaeSpec spec = setup.spec(500);
    const SaeParameters parameters = random_parameters(spec, 12);
    const HostTensor x = normal_tensor({500, spec.d}, 1, 13);
    const auto trained = [&](cpu::Isa isa) {
      const SimdScope simd(isa);
      const auto sae = make_loaded(spec, parameters, 2);
      NoStream stream;
      for (int i = 1; i <= 4; ++i) {
        SaeStep step;
        step.learning_rate = 1e-2F, step.adam_step = i, step.dead_after = 600, step.aux_alpha = 1.0F / 32;
        sae->step(stream, x.matrix(), step);
      }
      const cpu::EncodeCounts counts = cpu::take_encode_counts(*sae);
      CHECK((isa == cpu::Isa::kAvx512Bf16 ? counts.bf16 : counts.dense) > 0);
      return bytes_of(*sae);
    };
    CHECK(trained(cpu::Isa::kAvx512Bf16) == trained(cpu::Isa::kAvx512));
  }
}
