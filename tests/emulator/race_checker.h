#pragma once
/// Who read and wrote which half-word of shared memory, and what each thread may know of it.
/// Time in a warp is counted in epochs: sync_warp() and barriers begin a new one. An access is stamped with
/// warp, lane and epoch. Barriers pass on what each warp knows: of every other warp the last epoch that is
/// surely over, and of that epoch's successor the lanes whose accesses are over too. Two accesses of one
/// half-word, one of them a write, of which the later thread cannot know that the earlier is over, are a
/// race: whichever order they came in this time.
#include <array>
#include <cstdint>
#include <vector>

#include "tests/emulator/failure.h"

namespace branchsae::emulator {

constexpr int kCheckedWarps = 32;
/// The copy engine's writes, an agent for each mbarrier that counts their bytes; an epoch is a phase.
constexpr int kFirstCopier = kCheckedWarps;
constexpr int kCopiers = 32;
constexpr int kAgents = kCheckedWarps + kCopiers;
constexpr uint32_t kEveryLane = ~0U;

/// All accesses of an agent before `epoch`, and those of `lanes` in it.
struct Known {
  uint32_t epoch = 0, lanes = 0;
  bool covers(uint32_t at, uint32_t by) const { return at < epoch || (at == epoch && (by & ~lanes) == 0); }
  void join(const Known& other) {
    if (other.epoch > epoch) {
      *this = other;
    } else if (other.epoch == epoch) {
      lanes |= other.lanes;
    }
  }
};
struct Knowledge {
  std::array<Known, kAgents> of{};
  void join(const Knowledge& other) {
    for (std::size_t agent = 0; agent < kAgents; ++agent) of[agent].join(other.of[agent]);
  }
};

/// Who accesses: one lane, or the warp as a whole (an instruction that moves data between lanes).
struct Accessor {
  int warp = 0;
  uint32_t lanes = 0;
};

class RaceChecker {
 public:
  void reset(int64_t bytes, int warps);

  /// Each throws Failure by way of the running block.
  void read(int64_t at, int64_t bytes, const Accessor& who, const Place& place);
  /// A read that goes on until the same is said to read(): nothing else makes it over.
  void begin_read(int64_t at, int64_t bytes, const Accessor& who, const Place& place);
  void write(int64_t at, int64_t bytes, const Accessor& who, const Place& place);
  /// Read-modify-write that is atomic among its like.
  void update(int64_t at, int64_t bytes, const Accessor& who, const Place& place);
  /// A copy begins that nobody may look at before it ended.
  void begin_copy(int64_t at, int64_t bytes, const Accessor& who, const Place& place);
  /// By the thread that waited for it, or in a phase of a copier's.
  void end_copy(int64_t at, int64_t bytes, const Accessor& who);
  void end_copy_in_phase(int64_t at, int64_t bytes, int copier, uint32_t phase);

  void sync_warp(int warp);
  /// All lanes of these warps meet.
  void meet(uint32_t warps, const Knowledge& published);
  /// Adds what a whole warp knows and did, and lets a new epoch of it begin.
  void publish_warp(int warp, Knowledge& to);
  /// What a lane hands on to those who wait for it.
  Knowledge publish(int warp, int lane);
  /// What a warp does from here on is not part of what its lanes have published.
  void after_publishing(int warp);
  /// A lane learns; its warp does with the next sync_warp.
  void learn(int warp, int lane, const Knowledge& news);

 private:
  struct Writer {
    uint32_t epoch = 0;  // 0: not written yet
    uint8_t warp = 0, lane = 0;
    uint8_t copying = 0, atomic = 0;
  };
  struct Clock {
    uint32_t epoch = 1;
    Knowledge known{};
    uint32_t lanes_with_news = 0;
    bool published = false;  // in this epoch
  };

  void read_in(uint32_t epoch, int64_t at, int64_t bytes, const Accessor& who, const Place& place);
  void finish_copy(int64_t at, int64_t bytes, const Writer& writer);
  bool over(const Clock& clock, const Accessor& who, int warp, uint32_t epoch, uint32_t lanes) const;
  void check_writer(const Writer& writer, int64_t cell, const Accessor& who, const char* doing,
                    const Place& place);
  void check_readers(int64_t cell, const Accessor& who, const char* doing, const Place& place);
  void record(int64_t cell, const Accessor& who, uint32_t epoch);
  void settle_atomics(int64_t cell, const Accessor& who, const Place& place);
  [[noreturn]] void fail(int64_t cell, const Accessor& who, const char* doing, const std::string& other,
                         const Place& place) const;

  int warps_ = 0;
  int64_t cells_ = 0;
  std::vector<Writer> writers_;
  std::vector<uint32_t> readers_;  // a bit per warp that read since the last write
  struct Reads {
    uint32_t epoch, lanes;
  };
  std::vector<Reads> reads_;                 // [warp, cell]
  std::vector<Place> written_at_, read_at_;  // [word]
  std::array<Clock, kAgents> clocks_;
  std::array<std::array<Knowledge, 32>, kCheckedWarps> news_;
};

}  // namespace branchsae::emulator
