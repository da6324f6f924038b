#include "tests/emulator/collectives.h"

#include <fmt/format.h>

#include <cstring>

#include "tests/emulator/machine.h"

namespace branchsae::emulator {
namespace {

constexpr const char* kSyncBlock = "sync_block";
constexpr const char* kSyncBlockCount = "sync_block_count or sync_block_or";
constexpr const char* kSyncNamed = "sync_named";
constexpr const char* kArriveNamed = "arrive_named";
constexpr const char* kBallot = "ballot, any or all";
constexpr const char* kShuffles[] = {"shuffle", "shuffle_xor", "shuffle_up", "shuffle_down"};

struct ShuffleArguments {
  uint64_t value, result;
  int by, width;
};

/// The lane that `lane` reads, as the PTX ISA defines shfl; its own where the source lies outside of its
/// group.
int source_lane(Shuffle kind, int lane, int by, int width) {
  const int first = lane / width * width, last = first + width - 1;
  int from = lane;
  switch (kind) {
    case Shuffle::kFrom:
      return first + (by & (width - 1));
    case Shuffle::kXor:
      from = lane ^ by;
      break;
    case Shuffle::kUp:
      from = lane - by;
      return from >= first ? from : lane;
    case Shuffle::kDown:
      from = lane + by;
      break;
  }
  return from <= last ? from : lane;
}

template <Shuffle Kind>
void exchange(void* const* payloads) {
  for (int lane = 0; lane < kLanes; ++lane) {
    auto* mine = static_cast<ShuffleArguments*>(payloads[lane]);
    const int from = source_lane(Kind, lane, mine->by, mine->width);
    mine->result = static_cast<const ShuffleArguments*>(payloads[from])->value;
  }
}

struct Vote {
  bool value;
  uint32_t result;
};

void vote(void* const* payloads) {
  uint32_t mask = 0;
  for (int lane = 0; lane < kLanes; ++lane)
    mask |= static_cast<uint32_t>(static_cast<const Vote*>(payloads[lane])->value) << lane;
  for (int lane = 0; lane < kLanes; ++lane) static_cast<Vote*>(payloads[lane])->result = mask;
}

}  // namespace

int lane_id() {
  return running_thread->lane;
}
int warp_id() {
  return running_thread->warp->id;
}

void sync_warp(const Place& place) {
  running_block->sync_warp(place);
}

void sync_block(const Place& place) {
  const int threads = static_cast<int>(running_block->size().x);
  running_block->barrier(0, threads, {kSyncBlock, 0, place}, false);
}

int sync_block_count(bool value, const Place& place) {
  const int threads = static_cast<int>(running_block->size().x);
  return static_cast<int>(running_block->barrier(0, threads, {kSyncBlockCount, 0, place}, value));
}

void sync_named(int id, int threads, const Place& place) {
  running_block->barrier(id, threads, {kSyncNamed, id, place}, false);
}

namespace {

struct Arrival {
  int id, threads;
  Place place;
};

void arrive(void* const* payloads) {
  const auto* mine = static_cast<const Arrival*>(payloads[0]);
  running_block->arrive_warp(mine->id, mine->threads, {kArriveNamed, mine->id, mine->place});
}

}  // namespace

void arrive_named(int id, int threads, const Place& place) {
  Arrival arguments{id, threads, place};
  running_block->warp_collective({kArriveNamed, id, place}, &arguments, arrive);
}

uint64_t shuffle(Shuffle kind, uint64_t value, int by, int width, const Place& place) {
  static constexpr WarpWork kWork[] = {exchange<Shuffle::kFrom>, exchange<Shuffle::kXor>,
                                       exchange<Shuffle::kUp>, exchange<Shuffle::kDown>};
  const auto index = static_cast<std::size_t>(kind);
  if (width <= 0 || width > kLanes || (width & (width - 1)) != 0) {
    running_block->fail(
        fmt::format("{} with width {}, which is no power of two up to 32", kShuffles[index], width), place);
  }
  ShuffleArguments arguments{value, 0, by, width};
  running_block->warp_collective({kShuffles[index], width, place}, &arguments, kWork[index]);
  return arguments.result;
}

uint32_t ballot(bool value, const Place& place) {
  Vote arguments{value, 0};
  running_block->warp_collective({kBallot, 0, place}, &arguments, vote);
  return arguments.result;
}

void check_global(const void* address, int64_t bytes, const Place& place) {
  if (address == nullptr || reinterpret_cast<uintptr_t>(address) % static_cast<uintptr_t>(bytes) != 0) {
    running_block->fail(
        fmt::format("{} bytes of global memory at {}, which is no multiple of {}", bytes, address, bytes),
        place);
  }
}

}  // namespace branchsae::emulator
