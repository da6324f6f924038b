// TopK of the encode: exact and bit for bit on data whose sums are exact. The cases try to break the parts:
// group maxima, compression, bisection, ties, chunks of 1,024 latents, groups of 6 and 4 tokens.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "engine/random.h"
#include "tests/sae_cases/sae_cases.h"

using namespace branchsae;
using namespace branchsae::test;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

/// Pre-activations [tokens, n], any values: token t is the t-th unit vector and column t of W holds its row.
struct PreActivations {
  int64_t tokens, n;
  std::vector<float> u;
  float& at(int64_t t, int64_t i) { return u[static_cast<size_t>(t * n + i)]; }
};

using Fill = std::function<float(int64_t token, int64_t latent, Random& random)>;

PreActivations filled(int64_t tokens, int64_t n, const Fill& fill) {
  PreActivations p{tokens, n, std::vector<float>(static_cast<size_t>(tokens * n))};
  Random random(17, 3);
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t i = 0; i < n; ++i) p.at(t, i) = fill(t, i, random);
  }
  return p;
}

std::unique_ptr<SaeExecutor> executor_for(PreActivations& p, int64_t k) {
  SaeSpec spec;
  spec.d = p.tokens, spec.n = p.n, spec.k = k, spec.max_batch = p.tokens;
  SaeParameters parameters;
  parameters.w = HostTensor({spec.n, spec.d});
  for (int64_t t = 0; t < p.tokens; ++t) {
    for (int64_t i = 0; i < p.n; ++i) parameters.w[i * spec.d + t] = p.at(t, i);
  }
  parameters.b_enc = HostTensor({spec.n});
  parameters.b_pre = HostTensor({spec.d});
  return make_loaded(spec, parameters, 1);
}

HostTensor unit_tokens(int64_t tokens) {
  HostTensor x({tokens, tokens});
  for (int64_t t = 0; t < tokens; ++t) x[t * tokens + t] = 1;
  return x;
}

void check_exact(PreActivations p, int64_t k) {
  const auto sae = executor_for(p, k);
  const auto lists = encode_lists(*sae, unit_tokens(p.tokens), k);
  for (int64_t t = 0; t < p.tokens; ++t) {
    CAPTURE(t);
    std::vector<double> u;
    for (int64_t i = 0; i < p.n; ++i) u.push_back(static_cast<double>(p.at(t, i)));
    CHECK(lists[static_cast<size_t>(t)] == reference::select_topk(u, k));
  }
}

float integer(Random& random, int most) {
  return static_cast<float>(static_cast<int>(random.below(static_cast<uint64_t>(2 * most + 1))) - most);
}

struct Case {
  const char* name;
  Fill fill;
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {"random integers", [](int64_t, int64_t, Random& r) { return integer(r, 100000); }},
      {"random reals", [](int64_t, int64_t, Random& r) { return static_cast<float>(r.normal()); }},
      {"all equal", [](int64_t, int64_t, Random&) { return 3.0F; }},
      {"few distinct values", [](int64_t, int64_t, Random& r) { return integer(r, 3); }},
      {"ascending", [](int64_t t, int64_t i, Random&) { return static_cast<float>(i + t + 1); }},
      {"descending", [](int64_t t, int64_t i, Random&) { return static_cast<float>(5000 - i - t); }},
      {"winners in one lane",
       [](int64_t t, int64_t i, Random& r) {
         return i % 16 == t % 16 ? 1000 + integer(r, 99) : integer(r, 99);
       }},
      {"winners in one group of 64",
       [](int64_t t, int64_t i, Random& r) {
         return i % 64 == t % 64 ? 1000 + integer(r, 99) : integer(r, 99);
       }},
      {"winners in one panel",
       [](int64_t t, int64_t i, Random& r) {
         return i / 64 == t % 3 ? 1000 + integer(r, 99) : integer(r, 99);
       }},
      {"few positive",
       [](int64_t t, int64_t i, Random& r) { return i % 97 == t % 97 ? 5 + integer(r, 4) : -1.0F; }},
      {"one positive", [](int64_t t, int64_t i, Random&) { return i == (t * 31) % 40 ? 2.0F : -2.0F; }},
      {"none positive", [](int64_t, int64_t, Random& r) { return -5 + integer(r, 5); }},
      {"zeros of both signs", [](int64_t, int64_t i, Random&) { return i % 2 == 0 ? 0.0F : -0.0F; }},
      {"equal to the last kept of an earlier chunk",
       [](int64_t t, int64_t i, Random&) { return i < 40 + t ? 7.0F : (i % 5 == 0 ? 7.0F : 1.0F); }},
      {"better and better chunks with ties",
       [](int64_t, int64_t i, Random& r) { return static_cast<float>(i / 512) * 2 + integer(r, 2); }},
      {"huge range",
       [](int64_t, int64_t, Random& r) {
         return std::ldexp(1.0F + static_cast<float>(r.uniform()), static_cast<int>(r.below(240)) - 120);
       }},
      {"denormals", [](int64_t, int64_t, Random& r) { return std::ldexp(integer(r, 1000), -149); }},
      {"neighbouring floats",
       [](int64_t, int64_t, Random& r) { return 1.0F + std::ldexp(static_cast<float>(r.below(64)), -23); }},
  };
  return all;
}

}  // namespace

TEST_CASE("the selection is exact for every kind of data, size and k") {
  struct Size {
    int64_t tokens, n;
  };
  // Ragged tokens; fewer than a panel, ragged panels, exactly a chunk, several chunks.
  std::vector<Size> sizes = {{1, 1}, {7, 40}, {13, 64}, {10, 1000}, {5, 1024}, {49, 1030}, {6, 3000}};
  std::vector<int64_t> ks = {1, 5, 32, 64, 65, 200};
  if (slow_device()) sizes = {{7, 40}, {49, 230}, {5, 1024}}, ks = {1, 32, 64, 100};
  for_each_level([&] {
    for (const Case& one : cases()) {
      for (const Size& size : sizes) {
        const PreActivations p = filled(size.tokens, size.n, one.fill);
        std::vector<int64_t> wanted = ks;
        if (size.tokens <= 20) wanted.push_back(size.n);
        for (const int64_t k : wanted) {
          if (k > size.n) continue;
          CAPTURE(one.name);
          CAPTURE(size.n);
          CAPTURE(k);
          check_exact(p, k);
        }
      }
    }
  });
}

TEST_CASE("NaN is never selected, infinity is, and both are flagged") {
  struct Special {
    const char* name;
    float first, second;
    bool nan, inf;
  };
  const Special specials[] = {{"NaN", kNan, kNan, true, false},
                              {"negative NaN", -kNan, kNan, true, false},
                              {"infinity", kInfinity, kInfinity, false, true},
                              {"minus infinity", -kInfinity, -kInfinity, false, false},
                              {"both", kNan, kInfinity, true, true}};
  const std::vector<int64_t> sizes =
      slow_device() ? std::vector<int64_t>{40, 200} : std::vector<int64_t>{40, 1024, 2100};
  for_each_level([&] {
    for (const Special& special : specials) {
      for (const int64_t n : sizes) {
        for (const int64_t k : {5, 32, 40}) {
          CAPTURE(special.name);
          CAPTURE(n);
          CAPTURE(k);
          // One column, so that what is not finite stays in its own latent; 11 tokens with the same u.
          SaeSpec spec;
          spec.d = 1, spec.n = n, spec.k = k, spec.max_batch = 11;
          SaeParameters parameters;
          parameters.w = integer_tensor({n, 1}, 1000, 21);
          parameters.w[3] = special.first;
          parameters.w[n - 2] = special.second;
          parameters.b_enc = HostTensor({n});
          parameters.b_pre = HostTensor({1});
          const auto sae = make_loaded(spec, parameters, 1);
          HostTensor ones({11, 1});
          std::fill(ones.values().begin(), ones.values().end(), 1.0F);
          OnDevice<float> x(ones);
          std::vector<double> u(parameters.w.values().begin(), parameters.w.values().end());
          for (const auto& list : encode_lists(*sae, x.matrix(), k))
            CHECK(list == reference::select_topk(u, k));
          SaeStep step;
          step.adam_step = 7;
          step_sync(*sae, x.matrix(), step);
          const SaeStats stats = sae->read_stats_sync();
          CHECK(stats.saw_inf == special.inf);
          // An infinite z makes the residual infinite and the gradient NaN: u itself is not.
          CHECK((stats.saw_nan || special.inf) == (special.nan || special.inf));
          // A device says which step it was, or does not know.
          if (special.nan || special.inf) CHECK((stats.bad_step == 7 || stats.bad_step == 0));
          if (!special.nan && !special.inf) CHECK(stats.bad_step == 0);
        }
      }
    }
  });
}

TEST_CASE("a token that is not finite is flagged and does not touch the others") {
  for_each_level([&] {
    for (const float bad : {kNan, kInfinity, 3e38F}) {
      SaeSpec spec;
      spec.d = 20, spec.n = 300, spec.k = 8, spec.max_batch = 30;
      const auto sae = make_loaded(spec, random_parameters(spec, 3));
      HostTensor x = normal_tensor({30, 20}, 1, 4);
      const auto clean = encode_lists(*sae, x, 8);
      x[7 * 20 + 5] = bad;
      const auto lists = encode_lists(*sae, x, 8);
      for (size_t t = 0; t < 30; ++t) {
        if (t != 7) CHECK(lists[t] == clean[t]);
      }
      OnDevice<float> tokens(x);
      step_sync(*sae, tokens.matrix(), SaeStep{});
      const SaeStats stats = sae->read_stats_sync();
      CHECK((stats.saw_nan || stats.saw_inf));
      // The next step has clean parameters again only if they are loaded; the executor itself must still
      // work.
      sae->load_sync(random_parameters(spec, 3));
      CHECK(encode_lists(*sae, normal_tensor({30, 20}, 1, 4), 8) == clean);
    }
  });
}

TEST_CASE("another k than the trained one, unused slots, strided tokens") {
  SaeSpec spec;
  spec.d = 24, spec.n = slow_device() ? 300 : 1500, spec.k = 16, spec.max_batch = 60;
  OnDevice<float> wide(integer_tensor({60, 50}, 4, 10));
  const HostTensor host = integer_tensor({60, 50}, 4, 10);
  SaeParameters exact;
  exact.w = integer_tensor({spec.n, spec.d}, 5, 11);
  exact.b_enc = integer_tensor({spec.n}, 9, 12);
  exact.b_pre = integer_tensor({spec.d}, 3, 13);
  exact.scale = 2;
  reference::Sae expected(spec);
  expected.load(exact);
  // Columns 7..30 of a wider matrix, every second row, and a transposed view.
  const auto some = [](const float* data) {
    View<const float, 2> tokens = View<const float, 2>(data, {60, 50}).columns(7, 24);
    tokens.shape[0] = 30, tokens.stride[0] *= 2;
    return tokens;
  };
  const auto transposed = [](const float* data) { return View<const float, 2>(data, {50, 24}, {1, 50}); };
  for_each_level([&] {
    const auto sae = make_loaded(spec, exact, 1);
    for (const int64_t k :
         {int64_t{1}, int64_t{8}, int64_t{16}, int64_t{50}, int64_t{100}, spec.n, spec.n + 100}) {
      CAPTURE(k);
      const int64_t kept = std::min(k, spec.n);
      CHECK(encode_lists(*sae, some(wide.data()), k) == expected.encode(some(host.data()), kept));
      CHECK(encode_lists(*sae, transposed(wide.data()), k) == expected.encode(transposed(host.data()), kept));
    }
  });
}

TEST_CASE("selections go into strided memory, more tokens than a batch at once") {
  SaeSpec spec;
  spec.d = 16, spec.n = 200, spec.k = 9, spec.max_batch = 50;
  const auto sae = make_loaded(spec, random_parameters(spec, 3));
  const HostTensor x = normal_tensor({173, 16}, 1, 4);
  OnDevice<float> tokens(x);
  const auto expected = encode_lists(*sae, tokens.matrix(), 9);
  // Nine of twelve slots of every row, the others untouched.
  OnDevice<float> values(std::vector<float>(173 * 12, -7.0F));
  OnDevice<int32_t> indices(std::vector<int32_t>(173 * 12, -7));
  const auto stream = sae_backend().make_stream();
  sae->encode(*stream, tokens.matrix(), values.matrix(173, 12).columns(2, 9),
              indices.matrix(173, 12).columns(2, 9));
  stream->synchronize();
  const std::vector<float> found_values = values.host();
  const std::vector<int32_t> found = indices.host();
  for (size_t t = 0; t < 173; ++t) {
    reference::Selection list;
    for (size_t i = 0; i < 12; ++i) {
      const size_t at = t * 12 + i;
      if (i < 2 || i >= 11) {
        CHECK(found[at] == -7);
        CHECK(found_values[at] == -7.0F);
      } else if (found[at] >= 0) {
        list.push_back({found[at], static_cast<double>(found_values[at])});
      }
    }
    CHECK(list == expected[t]);
  }
}
