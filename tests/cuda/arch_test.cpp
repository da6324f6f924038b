/// Every wrapper in cuda/arch against what its document says, in the emulator and on a device.
#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "tests/cuda/arch_kernels.h"

using namespace branchsae::cuda::test;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// Rounds to `bits` of mantissa by way of double, ties to even or away from zero.
float round_to(float value, int bits, bool ties_away) {
  if (!std::isfinite(value) || value == 0) return value;
  int exponent = 0;
  std::frexp(value, &exponent);
  const double unit = std::ldexp(1.0, std::max(exponent - 1, -126) - bits);
  const double scaled = static_cast<double>(value) / unit;
  return static_cast<float>((ties_away ? std::round(scaled) : std::nearbyint(scaled)) * unit);
}

uint16_t bf16(float value) {
  return static_cast<uint16_t>(std::bit_cast<uint32_t>(round_to(value, 7, false)) >> 16);
}

std::vector<float> interesting_floats() {
  std::vector<float> values{0.0F,        -0.0F,       1.0F,         -1.0F,     kInfinity, -kInfinity,
                            1.00390625F, 1.01171875F, -1.00390625F, 3.4e38F,   1e-40F,    -1e-40F,
                            1.0F / 3,    65504.0F,    1.0004883F,   1.0014648F};
  uint32_t state = 12345;
  while (values.size() < 256) {
    state = state * 1664525U + 1013904223U;
    const auto value = std::bit_cast<float>(state);
    if (std::isfinite(value)) values.push_back(value);
  }
  return values;
}

int small(int i) {
  return (i * 37 + 11) % 17 - 8;
}

}  // namespace

TEST_CASE("arch: bf16 and TF32 round as the PTX ISA says") {
  const std::vector<float> values = interesting_floats();
  const auto [packed, tf32] = in_every_order([&] {
    const Buffer<float> in(values);
    const Buffer<uint32_t> pairs(128), words(256);
    convert(in, pairs, words);
    return std::pair(pairs.download(), words.download());
  });
  for (std::size_t i = 0; i < values.size(); ++i) {
    CAPTURE(values[i]);
    CHECK((packed[i / 2] >> (i % 2 * 16) & 0xffffU) == bf16(values[i]));
    CHECK(tf32[i] == std::bit_cast<uint32_t>(round_to(values[i], 10, true)));
  }
}

TEST_CASE("arch: NaN stays NaN") {
  const Buffer<float> in(std::vector<float>{std::nanf(""), std::bit_cast<float>(0x7f800001U)});
  const Buffer<uint32_t> pairs(1), words(2);
  convert(in, pairs, words);
  CHECK(pairs.download() == std::vector<uint32_t>{0x7fff7fffU});
  for (const uint32_t word : words.download()) CHECK((word & 0x7fffffffU) > 0x7f800000U);
}

TEST_CASE("arch: fma rounds once; quotients and roots to the nearest; sums as a butterfly") {
  std::vector<float> a, b, c;
  for (int i = 0; i < 32; ++i) {
    a.push_back(1.0F + static_cast<float>(i) * 0.37F);
    b.push_back(1.0F - static_cast<float>(i + 1) * 1e-4F);
    c.push_back(-a.back());
  }
  const std::vector<float> out = in_every_order([&] {
    const Buffer<float> in_a(a), in_b(b), in_c(c), result(128);
    arithmetic(in_a, in_b, in_c, result);
    return result.download();
  });
  std::vector<float> sums = a;
  for (int mask = 16; mask > 0; mask /= 2) {
    const std::vector<float> before = sums;
    for (std::size_t i = 0; i < 32; ++i) sums[i] = before[i] + before[i ^ static_cast<std::size_t>(mask)];
  }
  for (std::size_t i = 0; i < 32; ++i) {
    // Exact in double: two products of 24 bits fit.
    CHECK(out[4 * i] == static_cast<float>(static_cast<double>(a[i]) * b[i] + c[i]));
    CHECK(out[4 * i + 1] == a[i] / b[i]);
    CHECK(out[4 * i + 2] == std::sqrt(a[i]));
    CHECK(out[4 * i + 3] == sums[i] + 32.0F);
  }
}

TEST_CASE("arch: bits") {
  const std::vector<uint32_t> words{0,      1,           0x80000000U, 0xffffffffU,
                                    0x00f0, 0x7f800000U, 0x7f800001U, 0xff7fffffU};
  const std::vector<int32_t> out = in_every_order([&] {
    const Buffer<uint32_t> in(words);
    const Buffer<int32_t> result(40);
    bits(in, result);
    return result.download();
  });
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto value = std::bit_cast<float>(words[i]);
    const std::vector<int32_t> expected{
        std::popcount(words[i]), words[i] == 0 ? -1 : std::countr_zero(words[i]), std::countl_zero(words[i]),
        std::isfinite(value) ? 1 : 0, std::isnan(value) ? 1 : 0};
    CHECK(std::vector<int32_t>(out.begin() + static_cast<std::ptrdiff_t>(5 * i),
                               out.begin() + static_cast<std::ptrdiff_t>(5 * i + 5)) == expected);
  }
}

TEST_CASE("arch: exchanges between lanes and votes") {
  for (const int width : {4, 8, 32}) {
    for (const int by : {0, 1, 2, 3, width / 2}) {
      const std::vector<uint32_t> out = in_every_order([&] {
        const Buffer<uint32_t> result(64 * 8);
        exchanges(by, width, result);
        return result.download();
      });
      int wrong = 0;
      for (int thread = 0; thread < 64; ++thread) {
        const int lane = thread % 32, first = lane / width * width, last = first + width - 1;
        const auto value = [](int from) { return static_cast<uint32_t>(100 + from); };
        const uint32_t expected[] = {value(first + by % width),
                                     value((lane ^ by) <= last ? lane ^ by : lane),
                                     value(lane - by >= first ? lane - by : lane),
                                     value(lane + by <= last ? lane + by : lane),
                                     by == 32 ? ~0U : (1U << by) - 1,
                                     by > 0 ? 1U : 0U,
                                     by == 32 ? 1U : 0U,
                                     static_cast<uint32_t>(2 * by) + (by > 0 ? 1000U : 0U)};
        for (int i = 0; i < 8; ++i)
          wrong += out[static_cast<std::size_t>(thread * 8 + i)] != expected[i] ? 1 : 0;
      }
      CAPTURE(width);
      CAPTURE(by);
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("arch: atomics on global memory") {
  const auto result = in_every_order([] {
    const Buffer<int32_t> sum(std::vector<int32_t>{0}), largest(std::vector<int32_t>{-5}), olds(256);
    const Buffer<uint32_t> all_bits(std::vector<uint32_t>{0});
    atomics(sum, all_bits, largest, olds);
    return std::tuple(sum.download(), all_bits.download(), largest.download(), olds.download());
  });
  CHECK(result == std::tuple(std::vector<int32_t>{256}, std::vector<uint32_t>{~0U}, std::vector<int32_t>{63},
                             std::vector<int32_t>(256, 1)));
}

TEST_CASE("arch: ldmatrix and mma on bf16, exact on small integers") {
  std::vector<uint16_t> a(16 * 16), b(8 * 16);
  std::vector<float> start(16 * 8);
  for (int i = 0; i < 16 * 16; ++i) a[static_cast<std::size_t>(i)] = bf16(static_cast<float>(small(i)));
  for (int i = 0; i < 8 * 16; ++i)
    b[static_cast<std::size_t>(i)] = bf16(static_cast<float>(small(3 * i + 1)));
  for (int i = 0; i < 16 * 8; ++i) start[static_cast<std::size_t>(i)] = static_cast<float>(i);
  const std::vector<float> c = in_every_order([&] {
    const Buffer<uint16_t> in_a(a), in_b(b);
    const Buffer<float> sums(start);
    product_bf16(in_a, in_b, sums);
    return sums.download();
  });
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 8; ++j) {
      int sum = i * 8 + j;
      for (int k = 0; k < 16; ++k) sum += small(i * 16 + k) * small(3 * (j * 16 + k) + 1);
      CHECK(c[static_cast<std::size_t>(i * 8 + j)] == static_cast<float>(sum));
    }
  }
}

TEST_CASE("arch: mma on TF32, exact on small integers") {
  std::vector<float> a(16 * 8), b(8 * 8), start(16 * 8, 0.5F);
  for (int i = 0; i < 16 * 8; ++i) a[static_cast<std::size_t>(i)] = static_cast<float>(small(i));
  for (int i = 0; i < 8 * 8; ++i) b[static_cast<std::size_t>(i)] = static_cast<float>(small(3 * i + 1));
  const std::vector<float> c = in_every_order([&] {
    const Buffer<float> in_a(a), in_b(b), sums(start);
    product_tf32(in_a, in_b, sums);
    return sums.download();
  });
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 8; ++j) {
      float sum = 0.5F;
      for (int k = 0; k < 8; ++k) sum += static_cast<float>(small(i * 8 + k) * small(3 * (j * 8 + k) + 1));
      CHECK(c[static_cast<std::size_t>(i * 8 + j)] == sum);
    }
  }
}

TEST_CASE("arch: cp.async in groups, zeros where the source is not valid") {
  std::vector<int32_t> values(512);
  for (int i = 0; i < 512; ++i) values[static_cast<std::size_t>(i)] = i + 1;
  const std::vector<int32_t> out = in_every_order([&] {
    const Buffer<int32_t> in(values), result(512);
    copies(in, 100, result);
    return result.download();
  });
  for (int row = 0; row < 128; ++row) {
    const int from = row / 64 * 64 + 63 - row % 64;
    for (int i = 0; i < 4; ++i)
      CHECK(out[static_cast<std::size_t>(row * 4 + i)] == (from < 100 ? from * 4 + i + 1 : 0));
  }
}

TEST_CASE("arch: shared memory by half-words, words and pieces, in parts, atomically") {
  const std::vector<int32_t> out = in_every_order([] {
    const Buffer<int32_t> result(256);
    shared_words(result);
    return result.download();
  });
  for (int thread = 0; thread < 64; ++thread) {
    int count = 10;
    for (int other = thread % 4; other < 64; other += 4) count += other;
    const auto at = static_cast<std::size_t>(thread * 4);
    CHECK(out[at] == 1000 + thread / 2 * 2 + 1);
    CHECK(out[at + 1] == thread / 2);
    CHECK(out[at + 2] == count);
    CHECK(out[at + 3] == 1 + 63 - thread);
  }
}

TEST_CASE("arch: named barriers among warps of a block, with and without waiting") {
  const std::vector<int32_t> out = in_every_order([] {
    const Buffer<int32_t> result(128);
    named_barriers(result);
    return result.download();
  });
  for (int thread = 0; thread < 128; ++thread) {
    const int expected = thread < 64 ? thread : (64 + (thread + 32) % 64) * 1000 + 127 - thread;
    CHECK(out[static_cast<std::size_t>(thread)] == expected);
  }
}
