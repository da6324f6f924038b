#pragma once
/// Counter-based random numbers: the same (seed, stream, counter) gives the same bits on every machine.
/// Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3" (Philox4x32-10).
#include <array>
#include <cstdint>
#include <vector>

namespace branchsae {

/// Philox4x32-10 block function.
std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

/// A sequence drawn from Philox; `stream` separates uses of one seed.
class Random {
 public:
  Random(uint64_t seed, uint64_t stream) : seed_(seed), stream_(stream) {}
  uint32_t next_u32();
  uint64_t next_u64();
  /// Uniform in [0, bound), unbiased (rejection). bound > 0.
  uint64_t below(uint64_t bound);
  /// Uniform in [0, 1), 53 bits.
  double uniform();
  /// Standard normal (Box-Muller).
  double normal();

 private:
  uint64_t seed_, stream_, counter_ = 0;
  std::array<uint32_t, 4> block_{};
  int used_ = 4;
  double spare_ = 0;
  bool has_spare_ = false;
};

/// A permutation of 0..count-1 (Fisher-Yates), determined by seed and stream.
std::vector<int32_t> random_permutation(int64_t count, uint64_t seed, uint64_t stream);

}  // namespace branchsae
