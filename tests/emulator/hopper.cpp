#include "tests/emulator/hopper.h"

#include <fmt/format.h>

#include <cstring>

#include "tests/emulator/collectives.h"
#include "tests/emulator/machine.h"

namespace branchsae::emulator {
namespace {

constexpr int64_t kRow = 128;         // bytes of a row of a tile
constexpr int64_t kTileAlign = 1024;  // after which the permutation of pieces repeats

/// Where byte `at` of shared memory lies in a tile with 128-byte swizzle.
int64_t swizzled(int64_t at) {
  return at ^ (at >> 7 & 7) << 4;
}

}  // namespace

void Hopper::reset() {
  if (!used_) return;
  used_ = false;
  barriers_.clear();
  copies_.clear();
  products_.fill({});
}

void Hopper::check_end(const std::string& kernel, uint32_t block, int warps) {
  if (!used_) return;
  if (!copies_.empty()) {
    throw Failure(fmt::format("{}: block {} ends while {} copies of the copy engine are under way", kernel,
                              block, copies_.size()));
  }
  for (const auto& [at, barrier] : barriers_) {
    if (barrier.copied_phase <= barrier.waited_phase) continue;
    throw Failure(
        fmt::format("{}: block {} ends and nobody waited for the last copy to the mbarrier at byte {}",
                    kernel, block, at));
  }
  for (int warp = 0; warp < warps; ++warp) {
    const Products& mine = products_[static_cast<std::size_t>(warp)];
    if (!mine.pending.empty())
      throw Failure(fmt::format("{}: block {}: warp {} ends while its products run", kernel, block, warp));
    const int64_t first = products_[static_cast<std::size_t>(warp / 4 * 4)].issued;
    if (mine.issued != first) {
      throw Failure(fmt::format("{}: block {}: warp {} began {} products, warp {} of its group {}", kernel,
                                block, warp, mine.issued, warp / 4 * 4, first));
    }
  }
}

Hopper::Mbarrier& Hopper::find(uint32_t at, const Place& place) {
  const auto found = barriers_.find(at);
  if (found == barriers_.end())
    running_block->fail(fmt::format("byte {} of shared memory holds no mbarrier", at), place);
  // Whoever uses it must know that it was made.
  SharedMemory& shared = running_block->shared();
  if (RaceChecker* races = shared.races())
    races->read(at, 8, {running_thread->warp->id, 1U << running_thread->lane}, place);
  return found->second;
}

void Hopper::init(uint32_t at, int arrivals, const Place& place) {
  used_ = true;
  if (arrivals < 1) running_block->fail(fmt::format("an mbarrier of {} arrivals", arrivals), place);
  const auto [found, is_new] = barriers_.try_emplace(at);
  if (is_new && barriers_.size() > kCopiers)
    running_block->fail(fmt::format("more than {} mbarriers in a block", kCopiers), place);
  Mbarrier& barrier = found->second;
  if (is_new) barrier.copier = static_cast<int>(barriers_.size()) - 1;
  barrier.arrivals = barrier.missing = arrivals;
  barrier.bytes = 0;
  barrier.phase = 0;
}

void Hopper::arrive(uint32_t at, int64_t announced_bytes, const Place& place) {
  Mbarrier& barrier = find(at, place);
  barrier.bytes += announced_bytes;
  if (barrier.missing == 0) {
    running_block->fail(
        fmt::format("more than {} arrivals in a phase of the mbarrier at byte {}", barrier.arrivals, at),
        place);
  }
  --barrier.missing;
  if (RaceChecker* races = running_block->shared().races())
    barrier.published.join(races->publish(running_thread->warp->id, running_thread->lane));
  end_phase_if_complete(barrier);
}

void Hopper::end_phase_if_complete(Mbarrier& barrier) {
  if (barrier.missing != 0 || barrier.bytes != 0) return;
  barrier.ended = barrier.published;
  barrier.published = {};
  ++barrier.phase;
  // The copy engine's epochs of this barrier are its phases, counted from 1.
  barrier.ended.of[static_cast<std::size_t>(kFirstCopier + barrier.copier)].join({barrier.phase, kEveryLane});
  barrier.missing = barrier.arrivals;
  for (Thread* thread : barrier.waiting) running_block->resume(*thread);
  barrier.waiting.clear();
}

void Hopper::wait(uint32_t at, uint32_t parity, const Place& place) {
  Mbarrier& barrier = find(at, place);
  while ((barrier.phase & 1) == parity) {
    barrier.waiting.push_back(running_thread);
    running_block->suspend({"mbarrier_wait", static_cast<int64_t>(at), place});
  }
  barrier.waited_phase = static_cast<int64_t>(barrier.phase) - 1;
  if (RaceChecker* races = running_block->shared().races())
    races->learn(running_thread->warp->id, running_thread->lane, barrier.ended);
}

void Hopper::begin(const Copy& copy, Span to, int64_t at, const Place& place) {
  find(copy.barrier, place);
  const uint32_t first = check_shared_range(to, at, copy.bytes, place);
  SharedMemory& shared = running_block->shared();
  if (RaceChecker* races = shared.races())
    races->begin_copy(first, copy.bytes, {running_thread->warp->id, 1U << running_thread->lane}, place);
  std::memset(shared.data() + first, 0xff, static_cast<std::size_t>(copy.bytes));
  Copy begun = copy;
  begun.to = shared.data() + first;
  if (settings().late_copies) {
    copies_.push_back(begun);
  } else {
    land(begun);
  }
}

void Hopper::copy_box(Span to, int64_t at, const TensorMap* map, int64_t row, int64_t column,
                      uint32_t barrier, const Place& place) {
  check_global(map, 64, place);
  Copy copy{nullptr, 0, {}, row, column, barrier};
  std::memcpy(&copy.map, map, sizeof copy.map);
  if (copy.map.magic != MatrixMap::kMagic)
    running_block->fail("a copy by a TensorMap that make_tensor_map() did not make", place);
  if ((to.begin + at) % kTileAlign != 0) {
    running_block->fail(fmt::format("a box to byte {} of shared memory, which is no multiple of {}",
                                    to.begin + at, kTileAlign),
                        place);
  }
  copy.bytes = copy.map.box_rows * kRow;
  begin(copy, to, at, place);
}

void Hopper::copy_bulk(Span to, int64_t at, const void* from, int64_t bytes, uint32_t barrier,
                       const Place& place) {
  check_global(from, 16, place);
  if (bytes <= 0 || bytes % 16 != 0 || (to.begin + at) % 16 != 0) {
    running_block->fail(
        fmt::format("a copy of {} bytes to byte {} of shared memory; both must be multiples of 16", bytes,
                    to.begin + at),
        place);
  }
  Copy copy{nullptr, bytes, {}, 0, 0, barrier};
  copy.map.data = static_cast<const std::byte*>(from);
  begin(copy, to, at, place);
}

void Hopper::land(const Copy& copy) {
  SharedMemory& shared = running_block->shared();
  const int64_t first = copy.to - shared.data();
  if (copy.map.magic == 0) {
    std::memcpy(copy.to, copy.map.data, static_cast<std::size_t>(copy.bytes));
  } else {
    const MatrixMap& map = copy.map;
    for (int64_t i = 0; i < map.box_rows; ++i) {
      for (int64_t j = 0; j < cuda::kBoxColumns; ++j) {
        const int64_t row = copy.row + i, column = copy.column + j;
        const bool inside = row >= 0 && row < map.rows && column >= 0 && column < map.columns;
        std::byte* to = shared.data() + swizzled(first + i * kRow + j * 2);
        if (inside) {
          std::memcpy(to, map.data + (row * map.row_stride + column) * 2, 2);
        } else {
          std::memset(to, 0, 2);
        }
      }
    }
  }
  Mbarrier& barrier = barriers_.at(copy.barrier);
  if (RaceChecker* races = shared.races())
    races->end_copy_in_phase(first, copy.bytes, barrier.copier, barrier.phase + 1);
  barrier.copied_phase = barrier.phase;
  barrier.bytes -= copy.bytes;
  end_phase_if_complete(barrier);
}

bool Hopper::land_one() {
  if (copies_.empty()) return false;
  std::size_t at = 0;
  if (settings().order == Order::kReverse) at = copies_.size() - 1;
  if (settings().order == Order::kRandom) at = running_block->random() % copies_.size();
  const Copy copy = copies_[at];
  copies_.erase(copies_.begin() + static_cast<std::ptrdiff_t>(at));
  land(copy);
  return true;
}

void mbarrier_init(Span barriers, int i, int arrivals, const Place& place) {
  const int64_t at = int64_t{8} * i;
  std::memset(write_shared(barriers, at, 8, place), 0, 8);
  running_block->hopper().init(static_cast<uint32_t>(barriers.begin + at), arrivals, place);
}
void mbarrier_arrive(Span barriers, int i, int64_t announced_bytes, const Place& place) {
  running_block->hopper().arrive(check_shared(barriers, int64_t{8} * i, 8, place), announced_bytes, place);
}
void mbarrier_wait(Span barriers, int i, uint32_t parity, const Place& place) {
  running_block->hopper().wait(check_shared(barriers, int64_t{8} * i, 8, place), parity, place);
}
void copy_box(Span to, int64_t at, const TensorMap* map, int row, int column, Span barriers, int i,
              const Place& place) {
  running_block->hopper().copy_box(to, at, map, row, column, check_shared(barriers, int64_t{8} * i, 8, place),
                                   place);
}
void copy_bulk(Span to, int64_t at, const void* from, int bytes, Span barriers, int i, const Place& place) {
  running_block->hopper().copy_bulk(to, at, from, bytes, check_shared(barriers, int64_t{8} * i, 8, place),
                                    place);
}

}  // namespace branchsae::emulator
