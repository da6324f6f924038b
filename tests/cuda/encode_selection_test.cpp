// What may break a selection: patterns of pre-activations, NaN and infinities, in every route to the k
// largest.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "engine/random.h"
#include "tests/cuda/encode_fixture.h"

using namespace branchsae;
using namespace branchsae::cuda;
using namespace branchsae::cuda::test;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

using Pattern = std::function<float(int32_t row, int32_t latent, Random& random)>;

struct NamedPattern {
  const char* name;
  Pattern value;
};

float integer(Random& random, int64_t low, int64_t high) {
  return static_cast<float>(low + static_cast<int64_t>(random.below(static_cast<uint64_t>(high - low + 1))));
}

// All are integers that bf16 holds exactly, or powers of two.
const NamedPattern kPatterns[] = {
    {"random", [](int32_t, int32_t, Random& r) { return integer(r, -128, 127); }},
    {"all equal", [](int32_t, int32_t, Random&) { return 3.0F; }},
    {"few values", [](int32_t, int32_t, Random& r) { return integer(r, -1, 2); }},
    {"ascending", [](int32_t, int32_t i, Random&) { return static_cast<float>(i / 8 + 1); }},
    {"descending", [](int32_t, int32_t i, Random&) { return static_cast<float>(200 - i / 8); }},
    {"one lane wins",
     [](int32_t t, int32_t i, Random& r) { return i % 8 / 2 == t % 4 ? integer(r, 100, 200) : 1; }},
    {"one lane is positive",
     [](int32_t, int32_t i, Random& r) { return i % 8 / 2 == 3 ? integer(r, 1, 9) : -1; }},
    {"few are positive", [](int32_t, int32_t i, Random& r) { return i % 61 == 7 ? integer(r, 1, 3) : -2; }},
    {"none is positive", [](int32_t, int32_t, Random& r) { return integer(r, -4, 0); }},
    {"zeros", [](int32_t, int32_t i, Random&) { return i % 2 == 0 ? 0.0F : -0.0F; }},
    {"the last ones",
     [](int32_t, int32_t i, Random&) { return i >= 1060    ? 5.0F
                                              : i % 3 == 0 ? 1.0F
                                                           : 0.0F; }},
    {"powers of two",
     [](int32_t, int32_t, Random& r) { return std::ldexp(1.0F, static_cast<int>(r.below(250)) - 126); }},
    {"rows differ",
     [](int32_t t, int32_t i, Random& r) {
       return t % 3 == 0   ? 1.0F
              : t % 3 == 1 ? -1.0F + 2.0F * static_cast<float>(i % 40 == 0)
                           : integer(r, -9, 9);
     }},
};

EncodeData patterned(const EncodeCase& c, const Pattern& pattern) {
  Random random(5, 9);
  std::vector<float> u(static_cast<size_t>(c.rows) * static_cast<size_t>(c.n));
  for (int32_t t = 0; t < c.rows; ++t) {
    for (int32_t i = 0; i < c.n; ++i)
      u[static_cast<size_t>(t) * static_cast<size_t>(c.n) + static_cast<size_t>(i)] = pattern(t, i, random);
  }
  return given_pre_activations(c, u);
}

void check_exact(const EncodeCase& c, const EncodeData& data) {
  check_equal(selected_in_every_order([&] { return DeviceEncode(c, data).encode(); }),
              expected(c, data, c.k));
}

// Pre-activations whose row 0 is 1 everywhere and `special` at two latents: 0 times NaN or infinity makes
// those NaN in the other rows.
EncodeData with_special(const EncodeCase& c, float special) {
  EncodeData data = patterned(c, [](int32_t, int32_t, Random& r) { return integer(r, -9, 9); });
  for (const int32_t latent : {3, 150}) data.w[static_cast<size_t>(latent * c.d)] = special;
  return data;
}

}  // namespace

TEST_CASE("selection: patterns, beside the product") {
  for (const NamedPattern& pattern : kPatterns) {
    for (const int32_t k : {1, 32, 64}) {
      const EncodeCase c{.d = 48, .n = 1090, .k = k, .rows = 35, .precision = Precision::kBf16};
      INFO(pattern.name << " k " << k);
      check_exact(c, patterned(c, pattern.value));
    }
  }
}

TEST_CASE("selection: patterns, merged from shares of the latents") {
  for (const NamedPattern& pattern : kPatterns) {
    const EncodeCase c{.d = 32, .n = 1090, .k = 7, .rows = 21, .precision = Precision::kBf16, .splits = 5};
    INFO(pattern.name);
    check_exact(c, patterned(c, pattern.value));
  }
}

TEST_CASE("selection: patterns, through the buffer of a chunk") {
  for (const NamedPattern& pattern : kPatterns) {
    for (const int32_t k : {65, 300, 1090}) {
      const EncodeCase c{.d = 32, .n = 1090, .k = k, .rows = 21, .precision = Precision::kBf16};
      INFO(pattern.name << " k " << k);
      check_exact(c, patterned(c, pattern.value));
    }
  }
}

TEST_CASE("selection: NaN is flagged and never selected, infinity is selected and flagged") {
  for (const float special : {kNan, -kNan, kInfinity, -kInfinity}) {
    for (const int32_t k : {2, 40, 70}) {
      for (const int32_t splits : {0, 3}) {
        const EncodeCase c{.d = 32, .n = 200, .k = k, .rows = 20, .splits = k > kMaxFusedK ? 0 : splits};
        INFO("special " << special << " k " << k << " splits " << splits);
        const EncodeData data = with_special(c, special);
        check_exact(c, data);
        CHECK((expected(c, data, k).flags & kSawNan) != 0);
        CHECK(((expected(c, data, k).flags & kSawInf) != 0) == (special > 0 && std::isinf(special)));
      }
    }
  }
}

TEST_CASE("selection: NaN and infinity everywhere") {
  for (const float special : {kNan, kInfinity}) {
    for (const int32_t k : {32, 64, 65}) {
      const EncodeCase c{.d = 16, .n = 300, .k = k, .rows = 5};
      EncodeData data = patterned(c, [](int32_t, int32_t, Random&) { return 0.0F; });
      for (float& bias : data.b_enc) bias = special;
      INFO("special " << special << " k " << k);
      check_exact(c, data);
    }
  }
}

TEST_CASE("selection: below the normal numbers") {
  const EncodeCase c{.d = 32, .n = 1090, .k = 32, .rows = 20};
  check_exact(c, patterned(c, [](int32_t, int32_t, Random& r) {
                return std::ldexp(integer(r, -1, 9), -140 - static_cast<int>(r.below(9)));
              }));
}

TEST_CASE("selection: many latents, many compactions") {
  for (const int32_t k : {1, 32, 64}) {
    const EncodeCase c{.d = 16, .n = 9001, .k = k, .rows = 16, .precision = Precision::kF32};
    check_exact(c,
                patterned(c, [](int32_t, int32_t, Random& r) { return integer(r, -4'000'000, 4'000'000); }));
    const EncodeData rising =
        patterned(c, [](int32_t t, int32_t i, Random&) { return static_cast<float>(i + t); });
    check_exact(c, rising);
  }
}
