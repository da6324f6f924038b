/// A pipeline of copies and products as sm_90a kernels have it, with one mistake at a time.
#include <doctest/doctest.h>

#include "cuda/arch/hopper.cuh"
#include "cuda/arch/warp.cuh"
#include "tests/emulator/planted.h"
#include "tests/emulator/settings.h"

using namespace branchsae::cuda;
using namespace branchsae::cuda::test;
using branchsae::emulator::contains;
using branchsae::emulator::verdict;

namespace {

enum class Bug {
  kNone,
  kNoInitBarrier,       // the others use mbarriers before they are told that those are there
  kNoWaitForFull,       // products before the copies have come
  kWaitForOtherStage,   // products of one stage after waiting for the other
  kOneWarpDoesNotWait,  // three warps of the group wait for the copies
  kNoWaitForEmpty,      // copies into a stage that is still being read
  kReleaseBeforeWait,   // a stage is given back while its product runs
  kTooFewBytes,         // fewer bytes announced than come
  kTooManyBytes,        // more
  kArriveTwice,
  kNoFence,
  kSumsReadEarly,  // before the wait: not found, but the answer is NaN
  kSumsWrittenEarly,
  kOneWarpMultipliesLess,
  kMisplacedTile,
  kForgottenProduct,  // the block ends without waiting
  kForgottenCopy,
};

constexpr int kStages = 2, kTiles = 5, kTile = 64 * kBoxColumns;  // elements; a and b have 64 rows each
constexpr LaunchShape kShape{
    .grid = 1, .block = kWarpGroup + kWarp, .smem_bytes = 2 * kStages * kTile * 2 + 1024};
constexpr int kBytes = 2 * kTile * 2;

template <Bug bug>
void copy_tiles(Smem<uint16_t> a, Smem<uint16_t> b, Smem<uint64_t> barriers, const TensorMap& map) {
  if (threadIdx.x != kWarpGroup) return;
  for (int tile = 0; tile < kTiles + (bug == Bug::kForgottenCopy ? 1 : 0); ++tile) {
    const int stage = tile % kStages;
    const auto round = static_cast<uint32_t>(tile / kStages);
    if (bug != Bug::kNoWaitForEmpty) mbarrier_wait(barriers, kStages + stage, (round & 1) ^ 1);
    const int announced =
        kBytes + (bug == Bug::kTooFewBytes ? -128 : 0) + (bug == Bug::kTooManyBytes ? 128 : 0);
    mbarrier_arrive_expect(barriers, stage, announced);
    if (bug == Bug::kArriveTwice) mbarrier_arrive(barriers, stage);
    copy_box(a, stage * kTile + (bug == Bug::kMisplacedTile ? 64 : 0), &map, 0, tile * kBoxColumns, barriers,
             stage);
    copy_box(b, stage * kTile, &map, 0, tile * kBoxColumns, barriers, stage);
  }
}

template <Bug bug>
void multiply_tiles(Smem<uint16_t> a, Smem<uint16_t> b, Smem<uint64_t> barriers, float* out) {
  float sums[32] = {};
  for (int tile = 0; tile < kTiles; ++tile) {
    const int stage = tile % kStages;
    const uint32_t parity = static_cast<uint32_t>(tile / kStages) & 1;
    const bool waits = bug != Bug::kNoWaitForFull && (bug != Bug::kOneWarpDoesNotWait || warp_id() != 2);
    if (waits) mbarrier_wait(barriers, bug == Bug::kWaitForOtherStage ? stage ^ 1 : stage, parity);
    const uint64_t at_a = matrix_descriptor(a, stage * kTile), at_b = matrix_descriptor(b, stage * kTile);
    if (bug != Bug::kNoFence) wgmma_fence();
    for (uint64_t k = 0; k < kBoxColumns / 16; ++k) {
      if (bug == Bug::kOneWarpMultipliesLess && warp_id() == 1 && k == 3) continue;
      wgmma_bf16(sums, at_a + 2 * k, at_b + 2 * k);
    }
    wgmma_commit();
    if (bug == Bug::kReleaseBeforeWait) mbarrier_arrive(barriers, kStages + stage);
    if (bug == Bug::kSumsReadEarly) out[threadIdx.x] = sums[0];
    if (bug == Bug::kSumsWrittenEarly) sums[5] = 0.0F;
    if (bug == Bug::kForgottenProduct && tile == kTiles - 1) return;
    wgmma_wait<0>();
    if (bug != Bug::kReleaseBeforeWait) mbarrier_arrive(barriers, kStages + stage);
  }
  if (bug != Bug::kSumsReadEarly) out[threadIdx.x] = sums[0];
}

template <Bug bug>
__global__ void pipeline_kernel(const __grid_constant__ TensorMap map, float* out) {
  SmemArena arena;
  auto a = arena.take<uint16_t>(kStages * kTile), b = arena.take<uint16_t>(kStages * kTile);
  auto barriers = arena.take<uint64_t>(2 * kStages);
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < kStages; ++stage) {
      mbarrier_init(barriers, stage, 1);
      mbarrier_init(barriers, kStages + stage, kWarpGroup);
    }
    init_mbarriers_done();
  }
  if (bug != Bug::kNoInitBarrier) sync_block();
  if (warp_id() < kWarpGroup / kWarp) {
    multiply_tiles<bug>(a, b, barriers, out);
  } else {
    copy_tiles<bug>(a, b, barriers, map);
  }
}

/// 64 rows of `kTiles` tiles, all 1 (bf16).
struct Rows {
  Buffer<uint16_t> values{std::vector<uint16_t>(static_cast<std::size_t>(kTile * kTiles), 0x3f80)};
  TensorMap map = make_tensor_map(values.data(), 64, kTiles* kBoxColumns, kTiles* kBoxColumns, 64);
};

template <Bug bug>
std::string said_of() {
  const Rows rows;
  const Buffer<float> out(kWarpGroup);
  return verdict(pipeline_kernel<bug>, kShape, rows.map, out.data());
}

}  // namespace

TEST_CASE("the pipeline without a mistake runs in every order") {
  const Rows rows;
  const auto sums = in_every_order([&] {
    const Buffer<float> out(kWarpGroup);
    launch(pipeline_kernel<Bug::kNone>, "pipeline", kShape, stream(), rows.map, out.data());
    return out.download();
  });
  CHECK(sums == std::vector<float>(kWarpGroup, kTiles * kBoxColumns));
}

TEST_CASE("barriers in shared memory must be made known") {
  CHECK(said_of<Bug::kNoInitBarrier>() != "");
}

TEST_CASE("copies that were not waited for are not looked at") {
  CHECK(said_of<Bug::kNoWaitForFull>() != "");
  CHECK(said_of<Bug::kWaitForOtherStage>() != "");
  CHECK(said_of<Bug::kOneWarpDoesNotWait>() != "");
}

TEST_CASE("a stage that is still read is not copied into") {
  CHECK(said_of<Bug::kNoWaitForEmpty>() != "");
  CHECK(contains(said_of<Bug::kReleaseBeforeWait>(), "a write to byte"));
}

TEST_CASE("bytes and arrivals must add up") {
  CHECK(said_of<Bug::kTooFewBytes>() != "");
  CHECK(contains(said_of<Bug::kTooManyBytes>(), "deadlock: warp 0: lanes 0-31 wait in mbarrier_wait("));
  CHECK(said_of<Bug::kArriveTwice>() != "");
}

TEST_CASE("the rules of products") {
  CHECK(contains(said_of<Bug::kNoFence>(), "wgmma_fence() before the first"));
  CHECK(contains(said_of<Bug::kSumsWrittenEarly>(), "wrote sum 5 of a product that was running"));
  CHECK(contains(said_of<Bug::kOneWarpMultipliesLess>(), "warp 1 began 15 products, warp 0 of its group 20"));
  CHECK(contains(said_of<Bug::kForgottenProduct>(), "ends while its products run"));
  CHECK(contains(said_of<Bug::kMisplacedTile>(), "which is no multiple of 1024"));
}

TEST_CASE("accumulators hold NaN until they were waited for") {
  const Rows rows;
  const Buffer<float> out(kWarpGroup);
  launch(pipeline_kernel<Bug::kSumsReadEarly>, "planted", kShape, stream(), rows.map, out.data());
  CHECK(out.download()[77] != out.download()[77]);
}

TEST_CASE("a block does not end without waiting for its copies") {
  CHECK(contains(said_of<Bug::kForgottenCopy>(), "nobody waited for the last copy"));
}
