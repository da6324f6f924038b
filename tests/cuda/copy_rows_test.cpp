#include "cuda/copy_rows.h"

#include <doctest/doctest.h>

#include "engine/error.h"
#include "tests/cuda/kernel_test.h"

using namespace branchsae;
using namespace branchsae::cuda::test;

namespace {

std::vector<float> ramp(int64_t count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  return values;
}

}  // namespace

TEST_CASE("copy_rows: rows in a given order, between strided matrices") {
  for (const int64_t d : {1, 3, 48, 832}) {
    for (const int64_t count : {1, 7, 300}) {
      const int64_t stored = count + 5, pitch = d + 3;
      const std::vector<float> values = ramp(stored * pitch);
      std::vector<int32_t> rows(static_cast<std::size_t>(count));
      for (std::size_t i = 0; i < rows.size(); ++i)
        rows[i] = static_cast<int32_t>((i * 7 + 3) % static_cast<std::size_t>(stored));
      const std::vector<float> copied = in_every_order([&] {
        const Buffer<float> src(values);
        const Buffer<int32_t> order(rows);
        const Buffer<float> dst(count * d);
        cuda::copy_rows(stream(), {src.data(), {stored, d}, {pitch, 1}}, {order.data(), {count}},
                        {dst.data(), {count, d}, {1, count}});  // column by column
        return dst.download();
      });
      std::vector<float> expected;
      for (int64_t j = 0; j < d; ++j) {
        for (const int32_t row : rows) expected.push_back(values[static_cast<std::size_t>(row * pitch + j)]);
      }
      CHECK(copied == expected);
    }
  }
}

TEST_CASE("copy_rows: without row numbers everything is copied; nothing is nothing") {
  const std::vector<float> values = ramp(6 * 4);
  const Buffer<float> src(values), dst(6 * 4);
  cuda::copy_rows(stream(), {src.data(), {6, 4}}, {}, {dst.data(), {6, 4}});
  CHECK(dst.download() == values);
  cuda::copy_rows(stream(), {src.data(), {0, 4}}, {}, {dst.data(), {0, 4}});
  CHECK(dst.download() == values);
}

TEST_CASE("copy_rows: shapes that do not fit are named") {
  const Buffer<float> src(24), dst(24);
  CHECK_THROWS_WITH_AS(cuda::copy_rows(stream(), {src.data(), {6, 4}}, {}, {dst.data(), {4, 6}}),
                       doctest::Contains("[6, 4]"), ShapeError);
}
