// Selections beside the product: exact and bit for bit where the sums are exact, at every class of widths and
// in every precision, in every order of threads.
#include "tests/cuda/encode_fixture.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <tuple>

using namespace branchsae::cuda;
using namespace branchsae::cuda::test;

namespace {

constexpr Precision kAll[] = {Precision::kF32, Precision::kTf32, Precision::kBf16};

void check_exact(const EncodeCase& c, const EncodeData& data) {
  INFO(name(c));
  const Selected selected = selected_in_every_order([&] { return DeviceEncode(c, data).encode(); });
  check_equal(selected, expected(c, data, c.k));
}

}  // namespace

TEST_CASE("encode_topk: integers, every width class and precision") {
  for (const Precision precision : kAll) {
    for (const int32_t d : {48, 64, 112, 128, 256, 512, 528, 832}) {
      const EncodeCase c{
          .d = d, .n = d < 200 ? 300 : 150, .k = 32, .rows = d < 200 ? 130 : 20, .precision = precision};
      check_exact(c, integer_data(c, static_cast<uint64_t>(d)));
    }
  }
}

TEST_CASE("encode_topk: integers, longer lists") {
  for (const Precision precision : kAll) {
    for (const int32_t d : {20, 128, 200, 500}) {
      const EncodeCase c{.d = d, .n = 333, .k = d == 128 ? 33 : 64, .rows = 17, .precision = precision};
      check_exact(c, integer_data(c, static_cast<uint64_t>(d)));
    }
  }
}

TEST_CASE("encode_topk: any k and any number of rows") {
  for (const int32_t k : {1, 2, 31, 32, 33, 63, 64}) {
    const EncodeCase c{.d = 16, .n = 70, .k = k, .rows = k, .precision = Precision::kBf16};
    check_exact(c, integer_data(c, static_cast<uint64_t>(k)));
  }
}
