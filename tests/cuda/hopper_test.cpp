/// TMA, mbarriers and wgmma together: a product of small integers, exact in any order of summation.
#include <doctest/doctest.h>

#include "tests/cuda/hopper_launch.h"
#include "tests/test_data.h"

using namespace branchsae;
using namespace branchsae::cuda::test;

namespace {

bool has_hopper() {
  int major = 0, minor = 0;
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0);
  cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0);
  return major == 9 && minor == 0;
}

int element(int64_t row, int64_t column, int seed) {
  return static_cast<int>((row * 7 + column * 13 + seed * 5) % 9) - 4;
}

/// bf16 of small integers: exact.
std::vector<uint16_t> matrix(int64_t rows, int64_t columns, int64_t stride, int seed) {
  std::vector<uint16_t> bits(static_cast<std::size_t>(rows * stride), 0x7fc0);  // NaN between the rows
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      const auto value = static_cast<float>(element(i, j, seed));
      uint32_t word = 0;
      std::memcpy(&word, &value, 4);
      bits[static_cast<std::size_t>(i * stride + j)] = static_cast<uint16_t>(word >> 16);
    }
  }
  return bits;
}

}  // namespace

TEST_CASE("wgmma and TMA: products of several tiles, with columns and rows beyond the edge") {
  if (!has_hopper()) {
    test::skip("needs a device of compute capability 9.0");
    return;
  }
  for (const int n : {64, 128}) {
    for (const int d : {64, 128, 200, 512}) {
      const int64_t rows_a = d == 200 ? 50 : 64, rows_b = d == 200 ? n - 3 : n, stride = d + 8;
      const std::vector<float> c = in_every_order([&] {
        const Buffer<uint16_t> a(matrix(rows_a, d, stride, 1)), b(matrix(rows_b, d, stride, 2));
        const Buffer<float> sums(64 * n);
        multiply_rows(n, cuda::make_tensor_map(a.data(), rows_a, d, stride, 64),
                      cuda::make_tensor_map(b.data(), rows_b, d, stride, n), d, sums.data());
        return sums.download();
      });
      int wrong = 0;
      for (int64_t i = 0; i < 64; ++i) {
        for (int64_t j = 0; j < n; ++j) {
          int sum = 0;
          for (int64_t k = 0; k < d && i < rows_a && j < rows_b; ++k)
            sum += element(i, k, 1) * element(j, k, 2);
          if (c[static_cast<std::size_t>(i * n + j)] != static_cast<float>(sum)) ++wrong;
        }
      }
      CAPTURE(n);
      CAPTURE(d);
      CHECK(wrong == 0);
    }
  }
}
