#pragma once
/// How the emulator runs kernels: what a GPU leaves open is chosen here, so that tests can try it all.
#include <cstdint>

namespace branchsae::emulator {

/// Which of the threads that could go on goes on.
enum class Order { kForward, kReverse, kRandom };

struct Settings {
  Order order = Order::kForward;
  uint64_t seed = 1;            ///< of everything random
  bool shuffle_blocks = false;  ///< blocks in random order; else from the first to the last
  bool late_copies = false;     ///< cp.async and TMA move their bytes at the wait; else at once
  bool defer = false;           ///< streams stand still until something waits for them
  bool race_checks = true;      ///< of shared memory
};

/// Taken over by the next launch. At the start as the words in $BRANCHSAE_EMULATOR say: reverse or random
/// (order), shuffle (blocks), late (copies), defer (streams).
Settings& settings();

/// How often things happened since the last reset_counters().
struct Counters {
  int64_t launches = 0, blocks = 0, threads = 0, switches = 0;
  int64_t block_barriers = 0;    ///< barriers passed, each counted once for its block
  int64_t warp_collectives = 0;  ///< once for its warp
  int64_t mma = 0;               ///< tensor-core products, once for its warp (or warpgroup)
  int64_t smem_accesses = 0;     ///< loads and stores of threads through Smem
};
Counters& counters();

}  // namespace branchsae::emulator
