#include "cuda/sae/gather_tokens.h"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>

#include "cuda/sae/set_batches.h"
#include "engine/random.h"
#include "tests/cuda/kernel_test.h"

using namespace branchsae;
using namespace branchsae::cuda;
using namespace branchsae::cuda::test;

namespace {

struct Layout {
  const char* name;
  int64_t row_stride, column_stride;
};

struct Result {
  std::vector<float> x;
  std::vector<double> squares;
  std::vector<float> sums;
  bool operator==(const Result&) const = default;
};

SaeDesc sizes_of(int32_t d, int32_t max_batch, Precision precision) {
  SaeDesc sae{};
  sae.d = d;
  sae.d_padded = (d + kChannelPadding - 1) / kChannelPadding * kChannelPadding;
  sae.max_batch = max_batch;
  sae.rows_padded = (max_batch + kRowPadding - 1) / kRowPadding * kRowPadding;
  sae.precision = precision;
  sae.scale = 1.5F;
  return sae;
}

float widened(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

// Runs the kernel on `rows` tokens of a device buffer with these strides.
Result gather(SaeDesc sae, const Buffer<float>& tokens, const Layout& layout, int32_t rows,
              const Buffer<float>& b_pre) {
  const int64_t elements = int64_t{sae.rows_padded} * sae.d_padded, tiles = sae.rows_padded / kGatherRows;
  const bool bf16 = sae.precision == Precision::kBf16;
  const Buffer<float> x(std::vector<float>(static_cast<size_t>(elements)));
  const Buffer<uint16_t> x16(std::vector<uint16_t>(static_cast<size_t>(elements)));
  const Buffer<double> squares(tiles);
  const Buffer<float> sums(tiles * sae.d_padded);
  const Buffer<SaeBatch> batch(1);
  sae.b_pre = b_pre.data();
  sae.x = bf16 ? static_cast<void*>(x16.data()) : x.data();
  sae.tile_squares = squares.data();
  sae.tile_token_sums = sums.data();
  sae.batch = batch.data();
  const Buffer<SaeDesc> saes(std::vector<SaeDesc>{sae});
  std::vector<WorkItem> items;
  add_gather_tokens_work(0, sae, items);
  const Buffer<WorkItem> work(items);
  SaeBatch values{};
  values.tokens = tokens.data();
  values.row_stride = layout.row_stride;
  values.column_stride = layout.column_stride;
  values.rows = rows;
  set_batches(stream(), saes.data(), {&values, 1});
  gather_tokens(stream(), gather_tokens_variant(sae), saes.data(),
                {work.data(), static_cast<int32_t>(items.size())});
  synchronize();
  Result result{x.download(), squares.download(), sums.download()};
  if (bf16) {
    const std::vector<uint16_t> bits = x16.download();
    for (size_t i = 0; i < bits.size(); ++i) result.x[i] = widened(bits[i]);
  }
  const auto written = static_cast<size_t>((rows + kGatherRows - 1) / kGatherRows);
  result.squares.resize(written);
  result.sums.resize(written * static_cast<size_t>(sae.d_padded));
  return result;
}

// Small integers over 2, so that everything is exact in bf16 too.
float value_of(int64_t row, int64_t channel) {
  return static_cast<float>((row * 7 + channel * 13) % 17 - 8);
}

}  // namespace

TEST_CASE("gather_tokens: scaled, centred, padded; sums by tile; the same for any strides") {
  for (const Precision precision : {Precision::kF32, Precision::kBf16}) {
    for (const int32_t d : {1, 48, 64, 112, 528}) {
      for (const int32_t rows : {1, 31, 100, 133}) {
        const SaeDesc sae = sizes_of(d, 140, precision);
        CAPTURE(d);
        CAPTURE(rows);
        std::vector<float> centre(static_cast<size_t>(sae.d_padded));
        for (int32_t j = 0; j < d; ++j) centre[static_cast<size_t>(j)] = 0.5F * static_cast<float>(j % 5);
        const Buffer<float> b_pre(centre);
        const Layout layouts[] = {
            {"rows", d, 1}, {"wider rows", d + 3, 1}, {"columns", 1, rows}, {"neither", 2 * d, 2}};
        Result first;
        for (const Layout& layout : layouts) {
          CAPTURE(layout.name);
          std::vector<float> host(static_cast<size_t>(rows * layout.row_stride + d * layout.column_stride));
          for (int32_t t = 0; t < rows; ++t) {
            for (int32_t j = 0; j < d; ++j)
              host[static_cast<size_t>(t * layout.row_stride + j * layout.column_stride)] = value_of(t, j);
          }
          const Buffer<float> tokens(host);
          const auto run = [&] { return gather(sae, tokens, layout, rows, b_pre); };
          // One layout in every order; the others must give its bits.
          const Result result = &layout == layouts ? in_every_order(run) : run();
          if (&layout == layouts) first = result;
          CHECK(result == first);
        }
        std::vector<float> expected(first.x.size());
        std::vector<double> squares(first.squares.size());
        std::vector<float> sums(first.sums.size());
        for (int32_t t = 0; t < rows; ++t) {
          for (int32_t j = 0; j < d; ++j) {
            const float value = 1.5F * value_of(t, j) - centre[static_cast<size_t>(j)];
            const auto tile = static_cast<size_t>(t / kGatherRows);
            expected[static_cast<size_t>(t * sae.d_padded + j)] = value;
            squares[tile] += static_cast<double>(value) * static_cast<double>(value);
            sums[tile * static_cast<size_t>(sae.d_padded) + static_cast<size_t>(j)] += value;
          }
        }
        CHECK(first.x == expected);
        CHECK(first.squares == squares);
        CHECK(first.sums == sums);
      }
    }
  }
}

TEST_CASE("gather_tokens: bf16 is rounded to the nearest, sums are of what was there before") {
  const SaeDesc sae = sizes_of(20, 50, Precision::kBf16);
  Random random(3, 1);
  std::vector<float> host(50 * 20);
  for (float& value : host) value = static_cast<float>(random.normal());
  const Buffer<float> tokens(host), b_pre(std::vector<float>(32));
  const Result result = gather(sae, tokens, {"rows", 20, 1}, 50, b_pre);
  double squares = 0;
  for (size_t i = 0; i < host.size(); ++i) {
    const float value = 1.5F * host[i];
    const float rounded = result.x[i / 20 * 32 + i % 20];
    // Half a unit in the last of 8 bits.
    CHECK(std::abs(rounded - value) <= std::abs(value) / 256);
    CHECK((std::bit_cast<uint32_t>(rounded) & 0xffffU) == 0);
    squares += static_cast<double>(value) * static_cast<double>(value);
  }
  CHECK(result.squares[0] + result.squares[1] == doctest::Approx(squares).epsilon(1e-12));
}

TEST_CASE("gather_tokens: a smaller batch leaves no rows of a larger one where the encode reads") {
  SaeDesc sae = sizes_of(16, 300, Precision::kF32);
  const Buffer<float> tokens(std::vector<float>(300 * 16, 1.0F)), b_pre(std::vector<float>(16));
  const Buffer<float> x(std::vector<float>(static_cast<size_t>(sae.rows_padded * sae.d_padded)));
  const Buffer<double> squares(sae.rows_padded / kGatherRows);
  const Buffer<float> sums(sae.rows_padded / kGatherRows * sae.d_padded);
  const Buffer<SaeBatch> batch(1);
  sae.b_pre = b_pre.data(), sae.x = x.data(), sae.tile_squares = squares.data();
  sae.tile_token_sums = sums.data(), sae.batch = batch.data();
  const Buffer<SaeDesc> saes(std::vector<SaeDesc>{sae});
  std::vector<WorkItem> items;
  add_gather_tokens_work(0, sae, items);
  const Buffer<WorkItem> work(items);
  for (const int32_t rows : {300, 5}) {
    SaeBatch values{};
    values.tokens = tokens.data(), values.row_stride = 16, values.column_stride = 1, values.rows = rows;
    set_batches(stream(), saes.data(), {&values, 1});
    gather_tokens(stream(), GatherVariant::kFloat, saes.data(),
                  {work.data(), static_cast<int32_t>(items.size())});
  }
  synchronize();
  const std::vector<float> found = x.download();
  for (int32_t row = 0; row < kRowPadding; ++row)
    CHECK(found[static_cast<size_t>(row) * 16] == (row < 5 ? 1.5F : 0.0F));
}

TEST_CASE("set_batches: more than fit one launch") {
  constexpr int kCount = 75;
  const Buffer<SaeBatch> batches(kCount);
  std::vector<SaeDesc> host(kCount);
  std::vector<SaeBatch> values(kCount);
  for (int i = 0; i < kCount; ++i) {
    host[static_cast<size_t>(i)].batch = batches.data() + i;
    values[static_cast<size_t>(i)].rows = i + 1;
    values[static_cast<size_t>(i)].adam_step = 1000 + i;
  }
  const Buffer<SaeDesc> saes(host);
  set_batches(stream(), saes.data(), values);
  std::fill(values.begin(), values.end(), SaeBatch{});  // the launches have their own copy
  synchronize();
  const std::vector<SaeBatch> found = batches.download();
  for (int i = 0; i < kCount; ++i) {
    CHECK(found[static_cast<size_t>(i)].rows == i + 1);
    CHECK(found[static_cast<size_t>(i)].adam_step == 1000 + i);
  }
}
