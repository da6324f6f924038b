// The routes to a selection agree: precisions, shares of the latents, groups of autoencoders, other k, the
// dead latents, the CPU backend.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "engine/backend.h"
#include "engine/random.h"
#include "tests/cuda/encode_fixture.h"

using namespace branchsae;
using namespace branchsae::cuda;
using namespace branchsae::cuda::test;

namespace {

constexpr Precision kAll[] = {Precision::kF32, Precision::kTf32, Precision::kBf16};

// Real numbers: each value is the exact one up to the rounding of its sum, and what is selected or left out
// is on the right side of the k-th value up to the same.
void check_near(const EncodeCase& c, const EncodeData& data, const Selected& selected, double tolerance) {
  for (int64_t t = 0; t < c.rows; ++t) {
    const std::vector<double> u = data.pre_activations(c, t);
    std::vector<double> sorted = u;
    std::sort(sorted.begin(), sorted.end(), std::greater<>());
    const double kth = std::max(sorted[static_cast<size_t>(c.k - 1)], 0.0);
    std::vector<char> is_selected(u.size(), 0);
    for (int64_t slot = t * c.k; slot < (t + 1) * c.k; ++slot) {
      const int32_t latent = selected.indices[static_cast<size_t>(slot)];
      if (latent < 0) continue;
      is_selected[static_cast<size_t>(latent)] = 1;
      const double exact = u[static_cast<size_t>(latent)];
      REQUIRE(std::fabs(static_cast<double>(selected.values[static_cast<size_t>(slot)]) - exact) <=
              tolerance);
      REQUIRE(exact >= kth - 2 * tolerance);
    }
    for (size_t i = 0; i < u.size(); ++i) {
      if (is_selected[i] == 0) REQUIRE(u[i] <= kth + 2 * tolerance);
    }
  }
}

void check_bits(const Selected& a, const Selected& b) {
  CHECK(a.indices == b.indices);
  CHECK(same_bits(a.values, b.values));
}

std::vector<int32_t> some_latents(int32_t n, int32_t of, uint64_t seed) {
  Random random(seed, 4);
  std::vector<int32_t> latents;
  for (int32_t i = 0; i < n; ++i) {
    if (random.below(static_cast<uint64_t>(of)) == 0) latents.push_back(i);
  }
  return latents;
}

}  // namespace

TEST_CASE("encode_topk: real numbers") {
  for (const Precision precision : kAll) {
    for (const int32_t d : {48, 256, 832}) {
      const EncodeCase c{.d = d, .n = 500, .k = 32, .rows = 33, .precision = precision};
      INFO(name(c));
      const EncodeData data = real_data(c, 3);
      // x and w are rounded already and their products exact in float; |u| is about 1, a sum of d terms
      // rounds d / 2 times by 2^-24 of that in the worst direction, the tensor cores by 2^-23: 1e-6 sqrt(d).
      check_near(c, data, DeviceEncode(c, data).encode(), 1e-6 * std::sqrt(d));
    }
  }
}

TEST_CASE("encode_topk: shares of the latents give the bits of the whole") {
  for (const Precision precision : kAll) {
    for (const int32_t splits : {2, 8}) {
      EncodeCase c{.d = 64, .n = 1000, .k = 32, .rows = 40, .precision = precision};
      const EncodeData data = real_data(c, 8);
      c.splits = 1;
      const Selected whole = DeviceEncode(c, data).encode();
      c.splits = splits;
      check_bits(DeviceEncode(c, data).encode(), whole);
    }
  }
}

TEST_CASE("encode_topk: an autoencoder's bits do not depend on its group") {
  const EncodeCase first{.d = 40, .n = 300, .k = 20, .rows = 70, .precision = Precision::kBf16};
  const EncodeCase second{.d = 64, .n = 130, .k = 32, .rows = 33, .precision = Precision::kBf16};
  const EncodeData first_data = real_data(first, 1), second_data = real_data(second, 2);
  DeviceEncode a(first, first_data), b(second, second_data), alone_a(first, first_data),
      alone_b(second, second_data);
  encode_together({&a, &b});
  check_bits(a.read(a.sae.values, a.sae.indices, a.sae.k), alone_a.encode());
  check_bits(b.read(b.sae.values, b.sae.indices, b.sae.k), alone_b.encode());
}

TEST_CASE("encode_topk: other k into other memory") {
  const EncodeCase c{.d = 48, .n = 400, .k = 32, .rows = 30, .precision = Precision::kBf16};
  const EncodeData data = integer_data(c, 6);
  for (const int32_t k : {1, 16, 32, 50, 64, 65, 128, 400}) {
    INFO("k " << k);
    check_equal(selected_in_every_order([&] { return DeviceEncode(c, data).encode_with(k); }),
                expected(c, data, k));
  }
}

TEST_CASE("encode_topk: chunks of a large batch") {
  // 16 MiB are 64 rows of 65,536 latents: three chunks.
  const EncodeCase c{.d = 16, .n = 65536, .k = 100, .rows = 140, .precision = Precision::kBf16};
  const EncodeData data = integer_data(c, 6);
  const EncodeVariant variant = encode_variant(DeviceEncode(c, data).sae, c.k);
  CHECK(variant.route == EncodeRoute::kChunked);
  CHECK(variant.chunk_rows == 64);
  CHECK(variant.chunks == 3);
  check_equal(DeviceEncode(c, data).encode(), expected(c, data, c.k));
}

TEST_CASE("encode_topk: chunked sums are the same bits") {
  for (const Precision precision : kAll) {
    for (const int32_t d : {48, 128, 256, 832}) {
      const EncodeCase c{.d = d, .n = 100, .k = 64, .rows = 20, .precision = precision};
      INFO(name(c));
      const EncodeData data = real_data(c, 12);
      const Selected fused = DeviceEncode(c, data).encode_with(64),
                     all = DeviceEncode(c, data).encode_with(100);
      for (int64_t t = 0; t < c.rows; ++t) {
        for (int64_t slot = 0; slot < 64; ++slot) {
          const auto at = static_cast<size_t>(t * 64 + slot);
          if (fused.indices[at] < 0) continue;
          const auto begin = all.indices.begin() + t * 100;
          const auto found = std::find(begin, begin + 100, fused.indices[at]);
          REQUIRE(found != begin + 100);
          REQUIRE(same_bits(all.values[static_cast<size_t>(found - all.indices.begin())], fused.values[at]));
        }
      }
    }
  }
}

TEST_CASE("encode_topk: over the dead latents") {
  for (const int32_t aux_k : {8, 64, 100}) {
    for (const int32_t of : {1, 3, 90}) {
      for (const int32_t splits : {0, 3}) {
        const EncodeCase c{.d = 48,
                           .n = 500,
                           .k = 8,
                           .rows = 20,
                           .precision = Precision::kBf16,
                           .aux_k = aux_k,
                           .splits = aux_k > kMaxFusedK ? 0 : splits};
        EncodeData data = integer_data(c, 31);
        data.dead = some_latents(c.n, of, 77);
        INFO("aux_k " << aux_k << " dead " << data.dead.size() << " splits " << splits);
        check_equal(selected_in_every_order([&] { return DeviceEncode(c, data).encode_dead(); }),
                    expected(c, data, aux_k, true));
      }
    }
    const EncodeCase c{.d = 48, .n = 100, .k = 8, .rows = 20, .aux_k = aux_k};
    const EncodeData data = integer_data(c, 31);
    check_equal(DeviceEncode(c, data).encode_dead(), expected(c, data, aux_k, true));  // none is dead
  }
}

TEST_CASE("list_dead: ascending, of any number of latents") {
  for (const int32_t n : {1, 31, 1024, 1025, 5000}) {
    Random random(static_cast<uint64_t>(n), 2);
    std::vector<int64_t> last_fired(static_cast<size_t>(n));
    for (int64_t& fired : last_fired) fired = static_cast<int64_t>(random.below(1000));
    std::vector<int32_t> wanted;
    for (int32_t i = 0; i < n; ++i) {
      if (1000 - last_fired[static_cast<size_t>(i)] >= 400) wanted.push_back(i);
    }
    const std::vector<int32_t> dead = in_every_order([&] {
      SaeBatch batch = {};
      batch.dead_after = 400;
      SaeState state = {};
      state.tokens_seen = 1000;
      const Buffer<SaeBatch> batches(std::vector{batch});
      const Buffer<int64_t> fired(last_fired);
      const Buffer<int32_t> list(n);
      const Buffer<SaeState> states(std::vector{state});
      SaeDesc sae = {};
      sae.n = n, sae.aux_k = 1;
      sae.batch = batches.data(), sae.state = states.data();
      sae.last_fired = fired.data(), sae.dead = list.data();
      const Buffer<SaeDesc> saes(std::vector{sae});
      const Buffer<WorkItem> work(list_dead_work(0, sae));
      list_dead(stream(), saes.data(), {work.data(), 1});
      synchronize();
      std::vector<int32_t> found = list.download();
      found.resize(static_cast<size_t>(states.download().front().dead_count));
      return found;
    });
    CHECK(dead == wanted);
  }
}

TEST_CASE("encode_topk: selects as the CPU backend does") {
  const EncodeCase c{.d = 80, .n = 700, .k = 32, .rows = 50, .precision = Precision::kBf16};
  const EncodeData data = integer_data(c, 99);
  const auto backend = find_backend("cpu")->make(0, 1);
  const auto cpu = backend->make_sae({.d = c.d, .n = c.n, .k = c.k, .max_batch = c.rows});
  SaeParameters parameters;
  parameters.w = HostTensor({c.n, c.d});
  std::copy(data.w.begin(), data.w.end(), parameters.w.data());
  parameters.b_enc = HostTensor({c.n});
  std::copy(data.b_enc.begin(), data.b_enc.end(), parameters.b_enc.data());
  parameters.b_pre = HostTensor({c.d});
  cpu->load_sync(parameters);
  const auto stream = backend->make_stream();
  for (const int32_t k : {32, 64, 100}) {
    Selected wanted;
    wanted.values.resize(static_cast<size_t>(c.rows * k));
    wanted.indices.resize(wanted.values.size());
    cpu->encode(*stream, {data.x.data(), {c.rows, c.d}}, {wanted.values.data(), {c.rows, k}},
                {wanted.indices.data(), {c.rows, k}});
    stream->synchronize();
    check_equal(DeviceEncode(c, data).encode_with(k), wanted);
  }
}
