#pragma once
/// One block of threads at a time: a fibre each. A fibre runs until it waits, in a barrier or in a collective
/// of its warp, for threads that are not there yet; the last to arrive does the work of all.
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/emulator/device_language.h"
#include "tests/emulator/failure.h"
#include "tests/emulator/fibre.h"
#include "tests/emulator/hopper.h"
#include "tests/emulator/settings.h"
#include "tests/emulator/shared_memory.h"

namespace branchsae::emulator {

constexpr int kLanes = 32;
constexpr int kMaxWarps = 32;
constexpr int kMaxThreads = kLanes * kMaxWarps;
constexpr int kNamedBarriers = 16;  // 0 is that of sync_block()

class Block;
struct Warp;

/// What a thread waits in, for comparison between lanes and for reports.
struct Wait {
  const char* name = nullptr;  ///< of the operation; the same pointer for the same operation
  int64_t detail = 0;          ///< shuffle: width; barrier: id and threads
  Place place;
};

/// A cp.async under way.
struct AsyncCopy {
  std::byte* to;
  const void* from;  ///< null: zeros
  int group;         ///< counted by the thread
};

struct Thread {
  Fibre fibre;
  uint3 index{};
  int id = 0, lane = 0;
  Warp* warp = nullptr;
  bool finished = false;
  Wait wait;                      ///< name is null while it does not wait
  void* payload = nullptr;        ///< of the collective it waits in
  uint64_t result = 0;            ///< of the block barrier it waited in
  std::vector<AsyncCopy> copies;  ///< oldest first
  int copy_group = 0;             ///< the one that is open
};

struct Warp {
  int id = 0;
  uint32_t members = 0;  ///< lanes that exist; all but in the last warp of an odd block
  uint32_t ready = 0;    ///< neither running, waiting nor finished
  uint32_t finished = 0;
  uint32_t arrived = 0;  ///< in the collective going on
  std::array<Thread*, kLanes> lanes{};
};

/// A collective's work, done once when all lanes are there; lane i's arguments are at payload[i].
using WarpWork = void (*)(void* const* payloads);

/// What is launched: the kernel with its arguments bound.
struct Grid {
  std::string name;
  dim3 blocks, threads;
  int64_t smem_bytes = 0;
  void (*body)(const void* arguments) = nullptr;
  const void* arguments = nullptr;
};

/// Runs every block of the grid. Throws Failure.
void run_grid(const Grid& grid);

class Block {
 public:
  Block();
  void run(const Grid& grid, uint3 index, uint64_t seed);
  uint32_t random();

  /// Called by the running thread.
  void warp_collective(const Wait& wait, void* payload, WarpWork work);
  uint64_t barrier(int id, int threads, const Wait& wait, bool value);
  /// For the warp as a whole, as the work of a collective.
  void arrive_warp(int id, int threads, const Wait& wait);
  void sync_warp(const Place& place);
  /// Throws Failure naming kernel, block and thread.
  [[noreturn]] void fail(const std::string& message, const Place& place);

  /// The running thread waits until somebody resumes it.
  void suspend(const Wait& wait);
  void resume(Thread& thread) { make_ready(thread); }

  SharedMemory& shared() { return shared_; }
  Hopper& hopper() { return hopper_; }
  const Grid& grid() const { return *grid_; }
  const uint3& index() const { return index_; }
  const dim3& size() const { return grid_->threads; }
  const dim3& grid_size() const { return grid_->blocks; }

 private:
  struct Barrier {
    int threads = 0;  ///< it waits for that many
    int arrived = 0;
    uint64_t sum = 0;
    std::vector<Thread*> waiting;
    Knowledge published{};  ///< by those who arrived without waiting
  };

  static void enter(void* thread);
  void start(Thread& thread);
  Thread* pick();
  Thread* pick_or_land();
  void wait_for_others();
  void finish();
  Barrier& enter_barrier(int id, int threads, int arriving, const Wait& wait);
  void release(Barrier& barrier, const Wait& wait);
  [[noreturn]] void leave_for_host();
  std::string who_waits_where() const;
  std::string divergence(const Wait& wait) const;
  void make_ready(Thread& thread);

  const Grid* grid_ = nullptr;
  uint3 index_{};
  Fibre host_;
  std::vector<Thread> threads_;
  std::array<Warp, kMaxWarps> warps_;
  uint32_t ready_warps_ = 0;
  int live_ = 0;  ///< threads that have not finished
  std::array<Barrier, kNamedBarriers> barriers_;
  std::exception_ptr failure_;
  SharedMemory shared_;
  Hopper hopper_;
  FibreStacks stacks_;
  Order order_ = Order::kForward;
  uint64_t random_state_ = 1;
};

/// The thread that runs now. Null outside of kernels.
extern Thread* running_thread;
extern Block* running_block;

}  // namespace branchsae::emulator
