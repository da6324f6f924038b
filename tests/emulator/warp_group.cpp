/// wgmma: products of a warp group, warp by warp. The operands' descriptors are decoded as the hardware does;
/// what they point to is looked at when the product begins, to see that it may be, and read when it is waited
/// for.
#include <fmt/format.h>

#include <bit>
#include <cstring>

#include "tests/emulator/hopper.h"
#include "tests/emulator/machine.h"

namespace branchsae::emulator {
namespace {

constexpr uint32_t kPoison = 0xffffffffU;

struct Descriptor {
  int64_t start, group_stride;
  int swizzle, base_offset;
  explicit Descriptor(uint64_t bits)
      : start(static_cast<int64_t>(bits & 0x3fff) << 4),
        group_stride(static_cast<int64_t>(bits >> 32 & 0x3fff) << 4),
        swizzle(static_cast<int>(bits >> 62)),
        base_offset(static_cast<int>(bits >> 49 & 7)) {}
};

struct ProductArguments {
  float* sums;
  uint64_t a, b;
  int columns;
  bool accumulate;
  Place place;
};

float to_float(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

int this_warp() {
  return running_thread->warp->id;
}

}  // namespace

/// Rows of 16 elements, K-major with 128-byte swizzle: row r lies (r / 8) * group_stride + (r % 8) * 128 from
/// the start, and in every address bits 4-6 are exchanged by bits 7-9.
void Hopper::load_operand(uint64_t bits, int first_row, int rows, float* to, const Place& place) const {
  RaceChecker* races = running_block->shared().races();
  const Accessor warp{this_warp(), kEveryLane};
  const Descriptor from(bits);
  if (from.swizzle != 1 || from.base_offset != 0) {
    running_block->fail(
        fmt::format("the emulator knows matrices with 128-byte swizzle and base offset 0 only; descriptor "
                    "{:#018x}",
                    bits),
        place);
  }
  if (from.start / 128 % 8 != 0 || from.start % 32 != 0) {
    running_block->fail(
        fmt::format("a matrix at byte {} of shared memory: tiles start at multiples of 1024, blocks of 16 "
                    "columns at multiples of 32 from there",
                    from.start),
        place);
  }
  const Span all{0, static_cast<uint32_t>(running_block->shared().bytes())};
  for (int i = 0; i < rows; ++i) {
    const int row = first_row + i;
    for (int piece = 0; piece < 2; ++piece) {
      int64_t at = from.start + row / 8 * from.group_stride + row % 8 * 128 + piece * 16;
      at ^= (at >> 7 & 7) << 4;
      const uint32_t first = check_shared(all, at, 16, place);
      if (to == nullptr) {
        if (races != nullptr) races->begin_read(first, 16, warp, place);
        continue;
      }
      if (races != nullptr) races->read(first, 16, warp, place);
      uint16_t elements[8];
      std::memcpy(elements, running_block->shared().data() + first, sizeof elements);
      for (int j = 0; j < 8; ++j) to[i * 16 + piece * 8 + j] = to_float(elements[j]);
    }
  }
}

void Hopper::fence(int warp) {
  products_[static_cast<std::size_t>(warp)].fenced = true;
}

void Hopper::issue(int warp, WarpProduct product) {
  used_ = true;
  Products& mine = products_[static_cast<std::size_t>(warp)];
  if (static_cast<int>(running_block->size().x) < (warp / 4 + 1) * 128)
    running_block->fail(fmt::format("warp {} has no whole warp group around it", warp), product.place);
  begin_operands(warp, product);
  const auto count = static_cast<std::size_t>(product.columns / 2);
  Sums& sums = mine.sums[product.sums[0]];
  if (sums.products == 0) {
    if (!mine.fenced)
      running_block->fail("a product's registers were not fenced: wgmma_fence() before the first",
                          product.place);
    sums.values.resize(32 * count);
    for (std::size_t lane = 0; lane < 32; ++lane) {
      std::memcpy(&sums.values[lane * count], product.sums[lane], count * sizeof(float));
      std::memset(product.sums[lane], 0xff, count * sizeof(float));
    }
  } else if (sums.values.size() != 32 * count) {
    running_block->fail("products of different sizes into the same registers at the same time",
                        product.place);
  }
  ++sums.products;
  ++mine.issued;
  product.group = mine.group;
  mine.pending.push_back(product);
}

void Hopper::begin_operands(int warp, const WarpProduct& product) const {
  load_operand(product.a, warp % 4 * 16, 16, nullptr, product.place);
  load_operand(product.b, 0, product.columns, nullptr, product.place);
}

void Hopper::commit(int warp) {
  ++products_[static_cast<std::size_t>(warp)].group;
}

void Hopper::multiply(int warp, const WarpProduct& product, Sums& sums) const {
  constexpr int kMaxColumns = 256;
  float a[16 * 16], b[kMaxColumns * 16], b_columns[16][kMaxColumns], c[16][kMaxColumns];
  load_operand(product.a, warp % 4 * 16, 16, a, product.place);
  load_operand(product.b, 0, product.columns, b, product.place);
  for (int column = 0; column < product.columns; ++column) {
    for (int k = 0; k < 16; ++k) b_columns[k][column] = b[column * 16 + k];
  }
  const int count = product.columns / 2;
  const auto each = [&](auto move) {
    for (int lane = 0; lane < 32; ++lane) {
      for (int i = 0; i < count; ++i) {
        const int row = lane / 4 + i / 2 % 2 * 8, column = i / 4 * 8 + lane % 4 * 2 + i % 2;
        move(sums.values[static_cast<std::size_t>(lane * count + i)], c[row][column]);
      }
    }
  };
  each([&](float& value, float& whole) { whole = product.accumulate ? value : 0.0F; });
  for (int row = 0; row < 16; ++row) {
    for (int k = 0; k < 16; ++k) {
      for (int column = 0; column < product.columns; ++column)
        c[row][column] += a[row * 16 + k] * b_columns[k][column];
    }
  }
  each([](float& value, float& whole) { value = whole; });
  ++counters().mma;
}

void Hopper::return_sums(const WarpProduct& product, const Sums& sums) const {
  const int count = product.columns / 2;
  for (int lane = 0; lane < 32; ++lane) {
    float* registers = product.sums[static_cast<std::size_t>(lane)];
    for (int i = 0; i < count; ++i) {
      if (std::bit_cast<uint32_t>(registers[i]) != kPoison)
        running_block->fail(fmt::format("lane {} wrote sum {} of a product that was running", lane, i),
                            product.place);
      registers[i] = sums.values[static_cast<std::size_t>(lane * count + i)];
    }
  }
}

void Hopper::wait_products(int warp, int pending) {
  Products& mine = products_[static_cast<std::size_t>(warp)];
  std::size_t done = 0;
  if (RaceChecker* races = running_block->shared().races()) races->after_publishing(warp);
  while (done < mine.pending.size() && mine.pending[done].group < mine.group - pending) {
    const WarpProduct& product = mine.pending[done++];
    const auto sums = mine.sums.find(product.sums[0]);
    multiply(warp, product, sums->second);
    if (--sums->second.products > 0) continue;
    return_sums(product, sums->second);
    mine.sums.erase(sums);
  }
  mine.pending.erase(mine.pending.begin(), mine.pending.begin() + static_cast<std::ptrdiff_t>(done));
  mine.fenced = false;
  // What those that still run read may be what the others read.
  if (done > 0) {
    for (const WarpProduct& product : mine.pending) begin_operands(warp, product);
  }
}

void wgmma_fence(const Place& place) {
  running_block->warp_collective({"wgmma_fence", 0, place}, nullptr,
                                 [](void* const*) { running_block->hopper().fence(this_warp()); });
}

void wgmma_bf16(float* sums, int columns, uint64_t a, uint64_t b, bool accumulate, const Place& place) {
  ProductArguments arguments{sums, a, b, columns, accumulate, place};
  running_block->warp_collective({"wgmma_bf16", columns, place}, &arguments, [](void* const* payloads) {
    const auto* first = static_cast<const ProductArguments*>(payloads[0]);
    WarpProduct product{first->a, first->b, first->columns, first->accumulate, 0, {}, first->place};
    for (std::size_t lane = 0; lane < 32; ++lane) {
      const auto* mine = static_cast<const ProductArguments*>(payloads[lane]);
      if (mine->a != first->a || mine->b != first->b || mine->accumulate != first->accumulate)
        running_block->fail(fmt::format("lane {} has other operands of the product than lane 0", lane),
                            mine->place);
      product.sums[lane] = mine->sums;
    }
    running_block->hopper().issue(this_warp(), product);
  });
}

void wgmma_commit(const Place& place) {
  running_block->warp_collective({"wgmma_commit", 0, place}, nullptr,
                                 [](void* const*) { running_block->hopper().commit(this_warp()); });
}

void wgmma_wait(int pending, const Place& place) {
  running_block->warp_collective({"wgmma_wait", pending, place}, &pending, [](void* const* payloads) {
    running_block->hopper().wait_products(this_warp(), *static_cast<const int*>(payloads[0]));
  });
}

void set_registers(int count, const Place& place) {
  if (count < 24 || count > 256 || count % 8 != 0)
    running_block->fail(fmt::format("{} registers; a multiple of 8 from 24 to 256 can be set", count), place);
  running_block->warp_collective({"setmaxnreg", count, place}, nullptr, nullptr);
}

}  // namespace branchsae::emulator
