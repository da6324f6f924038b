#include "tests/emulator/race_checker.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "tests/emulator/machine.h"

namespace branchsae::emulator {
namespace {

constexpr int64_t kCell = 2;  // bytes
constexpr uint32_t kGoingOn = ~0U;

std::string thread_text(int warp, uint32_t lanes) {
  if (warp >= kFirstCopier) return "the copy engine";
  const int lane = std::countr_zero(lanes);
  return fmt::format("thread {} (warp {}, lane {})", warp * 32 + lane, warp, lane);
}

}  // namespace

void RaceChecker::reset(int64_t bytes, int warps) {
  warps_ = warps;
  cells_ = (bytes + kCell - 1) / kCell;
  const auto cells = static_cast<std::size_t>(cells_);
  writers_.assign(cells, Writer{});
  readers_.assign(cells, 0);
  // Valid where readers_ says so.
  if (reads_.size() < cells * static_cast<std::size_t>(warps))
    reads_.resize(cells * static_cast<std::size_t>(warps));
  if (written_at_.size() < cells / 2 + 1) {
    written_at_.resize(cells / 2 + 1);
    read_at_.resize(cells / 2 + 1);
  }
  clocks_.fill(Clock{});
}

void RaceChecker::fail(int64_t cell, const Accessor& who, const char* doing, const std::string& other,
                       const Place& place) const {
  running_block->fail(fmt::format("{} byte {} of shared memory{}, {}", doing, cell * kCell,
                                  who.lanes == kEveryLane ? " by the warp as a whole" : "", other),
                      place);
}

bool RaceChecker::over(const Clock& clock, const Accessor& who, int warp, uint32_t epoch,
                       uint32_t lanes) const {
  if (warp == who.warp) return epoch < clock.epoch || (lanes & ~who.lanes) == 0;
  const auto agent = static_cast<std::size_t>(warp);
  if (clock.known.of[agent].covers(epoch, lanes)) return true;
  // Lanes that learnt it by themselves; for the warp as a whole all of them must have.
  if ((who.lanes & ~clock.lanes_with_news) != 0) return false;
  for (uint32_t left = who.lanes; left != 0; left &= left - 1) {
    const auto lane = static_cast<std::size_t>(std::countr_zero(left));
    if (!news_[static_cast<std::size_t>(who.warp)][lane].of[agent].covers(epoch, lanes)) return false;
  }
  return true;
}

void RaceChecker::check_writer(const Writer& writer, int64_t cell, const Accessor& who, const char* doing,
                               const Place& place) {
  const Place& at = written_at_[static_cast<std::size_t>(cell / 2)];
  if (writer.copying != 0) {
    fail(cell, who, doing,
         fmt::format("to which a copy is under way, begun by {} at {} and not waited for",
                     thread_text(writer.warp, 1U << writer.lane), text(at)),
         place);
  }
  if (over(clocks_[static_cast<std::size_t>(who.warp)], who, writer.warp, writer.epoch, 1U << writer.lane) &&
      (who.lanes != kEveryLane || writer.warp != who.warp ||
       writer.epoch < clocks_[static_cast<std::size_t>(who.warp)].epoch))
    return;
  fail(cell, who, doing,
       fmt::format("which {} wrote at {}, with no barrier in between",
                   thread_text(writer.warp, 1U << writer.lane), text(at)),
       place);
}

void RaceChecker::check_readers(int64_t cell, const Accessor& who, const char* doing, const Place& place) {
  const Clock& clock = clocks_[static_cast<std::size_t>(who.warp)];
  for (uint32_t left = readers_[static_cast<std::size_t>(cell)]; left != 0; left &= left - 1) {
    const int warp = std::countr_zero(left);
    const Reads& reads = reads_[static_cast<std::size_t>(warp * cells_ + cell)];
    if (over(clock, who, warp, reads.epoch, reads.lanes)) continue;
    if (reads.epoch == kGoingOn) {
      fail(cell, who, doing,
           fmt::format("which a product of warp {}, begun at {}, is reading", warp,
                       text(read_at_[static_cast<std::size_t>(cell / 2)])),
           place);
    }
    const uint32_t others = warp == who.warp ? reads.lanes & ~who.lanes : reads.lanes;
    const bool atomic = writers_[static_cast<std::size_t>(cell)].atomic != 0;
    fail(cell, who, doing,
         fmt::format("which {} {} at {}, with no barrier in between", thread_text(warp, others),
                     atomic ? "updated atomically" : "read",
                     text(atomic ? written_at_[static_cast<std::size_t>(cell / 2)]
                                 : read_at_[static_cast<std::size_t>(cell / 2)])),
         place);
  }
}

void RaceChecker::record(int64_t cell, const Accessor& who, uint32_t epoch) {
  uint32_t& readers = readers_[static_cast<std::size_t>(cell)];
  Reads& reads = reads_[static_cast<std::size_t>(who.warp * cells_ + cell)];
  const uint32_t bit = 1U << who.warp;
  if ((readers & bit) != 0 && reads.epoch == epoch) {
    reads.lanes |= who.lanes;
  } else {
    readers |= bit;
    reads = {epoch, who.lanes};
  }
}

/// A plain access of what was updated atomically, after all of that is over: from now on one of the updates
/// stands for all, one of another warp if there is one.
void RaceChecker::settle_atomics(int64_t cell, const Accessor& who, const Place& place) {
  Writer& writer = writers_[static_cast<std::size_t>(cell)];
  check_readers(cell, who, "an access of", place);
  uint32_t& readers = readers_[static_cast<std::size_t>(cell)];
  const uint32_t others = readers & ~(1U << who.warp);
  const int warp = std::countr_zero(others != 0 ? others : readers);
  const Reads& reads = reads_[static_cast<std::size_t>(warp * cells_ + cell)];
  writer = {reads.epoch, static_cast<uint8_t>(warp), static_cast<uint8_t>(std::countr_zero(reads.lanes)), 0,
            0};
  readers = 0;
}

void RaceChecker::read(int64_t at, int64_t bytes, const Accessor& who, const Place& place) {
  read_in(clocks_[static_cast<std::size_t>(who.warp)].epoch, at, bytes, who, place);
}

void RaceChecker::begin_read(int64_t at, int64_t bytes, const Accessor& who, const Place& place) {
  read_in(kGoingOn, at, bytes, who, place);
}

void RaceChecker::read_in(uint32_t epoch, int64_t at, int64_t bytes, const Accessor& who,
                          const Place& place) {
  const Writer* checked = nullptr;
  for (int64_t cell = at / kCell; cell < (at + bytes) / kCell; ++cell) {
    const Writer& writer = writers_[static_cast<std::size_t>(cell)];
    if (writer.epoch == 0) fail(cell, who, "a read of", "which nothing was written to", place);
    if (writer.atomic != 0) settle_atomics(cell, who, place);
    if (checked == nullptr || std::bit_cast<uint64_t>(writer) != std::bit_cast<uint64_t>(*checked)) {
      check_writer(writer, cell, who, "a read of", place);
      checked = &writer;
    }
    record(cell, who, epoch);
  }
  for (int64_t word = at / 4; word < (at + bytes + 3) / 4; ++word)
    read_at_[static_cast<std::size_t>(word)] = place;
}

void RaceChecker::write(int64_t at, int64_t bytes, const Accessor& who, const Place& place) {
  const uint32_t epoch = clocks_[static_cast<std::size_t>(who.warp)].epoch;
  const auto lane = static_cast<uint8_t>(std::countr_zero(who.lanes));
  for (int64_t cell = at / kCell; cell < (at + bytes) / kCell; ++cell) {
    Writer& writer = writers_[static_cast<std::size_t>(cell)];
    if (writer.epoch != 0 && writer.atomic == 0) check_writer(writer, cell, who, "a write to", place);
    check_readers(cell, who, "a write to", place);
    writer = {epoch, static_cast<uint8_t>(who.warp), lane, 0, 0};
    readers_[static_cast<std::size_t>(cell)] = 0;
  }
  for (int64_t word = at / 4; word < (at + bytes + 3) / 4; ++word)
    written_at_[static_cast<std::size_t>(word)] = place;
}

void RaceChecker::update(int64_t at, int64_t bytes, const Accessor& who, const Place& place) {
  const uint32_t epoch = clocks_[static_cast<std::size_t>(who.warp)].epoch;
  for (int64_t cell = at / kCell; cell < (at + bytes) / kCell; ++cell) {
    Writer& writer = writers_[static_cast<std::size_t>(cell)];
    if (writer.epoch == 0) fail(cell, who, "an atomic update of", "which nothing was written to", place);
    if (writer.atomic == 0) {
      check_writer(writer, cell, who, "an atomic update of", place);
      check_readers(cell, who, "an atomic update of", place);
      readers_[static_cast<std::size_t>(cell)] = 0;
      writer.atomic = 1;
    }
    record(cell, who, epoch);
  }
  for (int64_t word = at / 4; word < (at + bytes + 3) / 4; ++word)
    written_at_[static_cast<std::size_t>(word)] = place;
}

void RaceChecker::begin_copy(int64_t at, int64_t bytes, const Accessor& who, const Place& place) {
  write(at, bytes, who, place);
  for (int64_t cell = at / kCell; cell < (at + bytes) / kCell; ++cell)
    writers_[static_cast<std::size_t>(cell)].copying = 1;
}

void RaceChecker::finish_copy(int64_t at, int64_t bytes, const Writer& writer) {
  for (int64_t cell = at / kCell; cell < (at + bytes) / kCell; ++cell)
    writers_[static_cast<std::size_t>(cell)] = writer;
}

void RaceChecker::end_copy(int64_t at, int64_t bytes, const Accessor& who) {
  finish_copy(at, bytes,
              {clocks_[static_cast<std::size_t>(who.warp)].epoch, static_cast<uint8_t>(who.warp),
               static_cast<uint8_t>(std::countr_zero(who.lanes)), 0, 0});
}

void RaceChecker::end_copy_in_phase(int64_t at, int64_t bytes, int copier, uint32_t phase) {
  finish_copy(at, bytes, {phase, static_cast<uint8_t>(kFirstCopier + copier), 0, 0, 0});
}

void RaceChecker::sync_warp(int warp) {
  Clock& clock = clocks_[static_cast<std::size_t>(warp)];
  for (uint32_t left = clock.lanes_with_news; left != 0; left &= left - 1) {
    const Knowledge& news =
        news_[static_cast<std::size_t>(warp)][static_cast<std::size_t>(std::countr_zero(left))];
    clock.known.join(news);
  }
  clock.lanes_with_news = 0;
  clock.published = false;
  ++clock.epoch;
}

void RaceChecker::after_publishing(int warp) {
  if (clocks_[static_cast<std::size_t>(warp)].published) sync_warp(warp);
}

void RaceChecker::publish_warp(int warp, Knowledge& to) {
  Clock& clock = clocks_[static_cast<std::size_t>(warp)];
  const uint32_t epoch = clock.epoch;
  sync_warp(warp);
  to.join(clock.known);
  to.of[static_cast<std::size_t>(warp)].join({epoch, kEveryLane});
}

void RaceChecker::meet(uint32_t warps, const Knowledge& published) {
  Knowledge all = published;
  for (uint32_t left = warps; left != 0; left &= left - 1) publish_warp(std::countr_zero(left), all);
  for (uint32_t left = warps; left != 0; left &= left - 1) {
    clocks_[static_cast<std::size_t>(std::countr_zero(left))].known = all;
  }
}

Knowledge RaceChecker::publish(int warp, int lane) {
  Clock& clock = clocks_[static_cast<std::size_t>(warp)];
  clock.published = true;
  Knowledge result = clock.known;
  if ((clock.lanes_with_news >> lane & 1) != 0) {
    const Knowledge& news = news_[static_cast<std::size_t>(warp)][static_cast<std::size_t>(lane)];
    result.join(news);
  }
  result.of[static_cast<std::size_t>(warp)].join({clock.epoch, 1U << lane});
  return result;
}

void RaceChecker::learn(int warp, int lane, const Knowledge& news) {
  Clock& clock = clocks_[static_cast<std::size_t>(warp)];
  Knowledge& mine = news_[static_cast<std::size_t>(warp)][static_cast<std::size_t>(lane)];
  if ((clock.lanes_with_news >> lane & 1) == 0) mine = {};
  clock.lanes_with_news |= 1U << lane;
  mine.join(news);
}

}  // namespace branchsae::emulator
