#include "engine/random.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

using namespace branchsae;

TEST_CASE("philox gives its authors' known answers") {  // Random123, kat_vectors, philox4x32 10 rounds
  CHECK(philox({0, 0, 0, 0}, {0, 0}) ==
        std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}) ==
        std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("a permutation holds each number once and differs between streams") {
  std::vector<int32_t> a = random_permutation(1000, 1, 0);
  const std::vector<int32_t> b = random_permutation(1000, 1, 1);
  CHECK(a != b);
  CHECK(a == random_permutation(1000, 1, 0));
  std::ranges::sort(a);
  for (int32_t i = 0; i < 1000; ++i) CHECK(a[static_cast<size_t>(i)] == i);
  CHECK(random_permutation(0, 1, 0).empty());
}

TEST_CASE("below is uniform within sampling error") {
  Random random(7, 0);
  std::array<int, 5> counts{};
  constexpr int kDraws = 50'000;
  for (int i = 0; i < kDraws; ++i) ++counts[random.below(5)];
  for (int count : counts)
    CHECK(std::abs(count - kDraws / 5) < 5 * std::sqrt(kDraws * 0.2 * 0.8));  // five sigma
}

TEST_CASE("normal draws have mean 0 and variance 1 within five sigma") {
  Random random(7, 1);
  constexpr int kDraws = 100'000;
  double sum = 0, squares = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double x = random.normal();
    sum += x;
    squares += x * x;
  }
  CHECK(std::abs(sum / kDraws) < 5 / std::sqrt(kDraws));
  CHECK(std::abs(squares / kDraws - 1) < 5 * std::sqrt(2.0 / kDraws));
}
