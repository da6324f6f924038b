/// Tensor-core products of a warp. Products are exact and are added one after the other, in the order of k,
/// in float; a GPU adds them in an order and with a rounding of its own.
#include <bit>
#include <cstring>

#include "tests/emulator/collectives.h"
#include "tests/emulator/machine.h"

namespace branchsae::emulator {
namespace {

struct Product {
  float* c;
  const uint32_t* a;
  const uint32_t* b;
};

float low_half(uint32_t pair) {
  return std::bit_cast<float>(pair << 16);
}
float high_half(uint32_t pair) {
  return std::bit_cast<float>(pair & 0xffff0000U);
}
float tf32(uint32_t bits) {
  return std::bit_cast<float>(bits & 0xffffe000U);
}

/// c[16, 8] += a[16, K] b[K, 8]
template <int K>
void multiply(float (&c)[16][8], const float (&a)[16][K], const float (&b)[K][8]) {
  for (int row = 0; row < 16; ++row) {
    for (int k = 0; k < K; ++k) {
      for (int column = 0; column < 8; ++column) c[row][column] += a[row][k] * b[k][column];
    }
  }
}

/// The fragments of c, in or out.
template <class Move>
void each_sum(void* const* payloads, float (&c)[16][8], Move move) {
  for (int lane = 0; lane < kLanes; ++lane) {
    const int g = lane / 4, t = lane % 4;
    float* mine = static_cast<Product*>(payloads[lane])->c;
    move(mine[0], c[g][2 * t]);
    move(mine[1], c[g][2 * t + 1]);
    move(mine[2], c[g + 8][2 * t]);
    move(mine[3], c[g + 8][2 * t + 1]);
  }
}

template <int K, class Fill>
void product(void* const* payloads, Fill fill) {
  float a[16][K], b[K][8], c[16][8];
  for (int lane = 0; lane < kLanes; ++lane)
    fill(lane / 4, lane % 4, *static_cast<Product*>(payloads[lane]), a, b);
  each_sum(payloads, c, [](float& fragment, float& whole) { whole = fragment; });
  multiply(c, a, b);
  each_sum(payloads, c, [](float& fragment, float& whole) { fragment = whole; });
  ++counters().mma;
}

void product_bf16(void* const* payloads) {
  product<16>(payloads, [](int g, int t, const Product& mine, float(&a)[16][16], float(&b)[16][8]) {
    for (int i = 0; i < 4; ++i) {
      float* pair = &a[g + i % 2 * 8][2 * t + i / 2 * 8];
      pair[0] = low_half(mine.a[i]);
      pair[1] = high_half(mine.a[i]);
    }
    for (int i = 0; i < 2; ++i) {
      b[2 * t + 8 * i][g] = low_half(mine.b[i]);
      b[2 * t + 8 * i + 1][g] = high_half(mine.b[i]);
    }
  });
}

void product_tf32(void* const* payloads) {
  product<8>(payloads, [](int g, int t, const Product& mine, float(&a)[16][8], float(&b)[8][8]) {
    for (int i = 0; i < 4; ++i) a[g + i % 2 * 8][t + i / 2 * 4] = tf32(mine.a[i]);
    for (int i = 0; i < 2; ++i) b[t + 4 * i][g] = tf32(mine.b[i]);
  });
}

struct MatrixLoad {
  uint32_t* r;
  Span span;
  int64_t at;
  Place place;
};

/// A lane's row is read for the lanes it goes to, so what the lane itself stored needs a sync_warp(), too.
template <int Matrices>
void load(void* const* payloads) {
  for (int lane = 0; lane < kLanes; ++lane) {
    const auto* owner = static_cast<const MatrixLoad*>(payloads[lane]);
    if (lane >= 8 * Matrices) {
      check_shared(owner->span, owner->at, 16, owner->place);
      continue;
    }
    const std::byte* row = read_shared_as_warp(owner->span, owner->at, 16, owner->place);
    for (int t = 0; t < 4; ++t)
      std::memcpy(static_cast<const MatrixLoad*>(payloads[lane % 8 * 4 + t])->r + lane / 8, row + 4 * t, 4);
  }
}

}  // namespace

void mma_bf16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const Place& place) {
  Product payload{c, a, b};
  running_block->warp_collective({"mma_bf16", 0, place}, &payload, product_bf16);
}

void mma_tf32(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const Place& place) {
  Product payload{c, a, b};
  running_block->warp_collective({"mma_tf32", 0, place}, &payload, product_tf32);
}

void load_matrices(uint32_t* r, int matrices, Span span, int64_t at, const Place& place) {
  MatrixLoad payload{r, span, at, place};
  running_block->warp_collective({"load_matrices", matrices, place}, &payload,
                                 matrices == 4 ? load<4> : load<2>);
}

}  // namespace branchsae::emulator
