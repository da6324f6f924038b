#pragma once
/// Who sums the gradients of which part of a batch, and where, when tokens are scattered.
#include <array>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>

#include "cpu/sae/layout.h"

namespace branchsae::cpu {

/// A batch is cut into kPartials parts. Whatever the threads, its gradient is the sum of two halves, and a
/// half (((p0 + p1) + p2) + p3) + p4 of its parts. A thread that has taken every part of a half so far adds
/// the next one to what it has, in two buffers that stay in its own cache; other parts wait in a buffer of
/// their own until all are added.
class PartialPlan {
 public:
  static constexpr int64_t kHalves = 2, kParts = kPartials / kHalves;
  struct Part {
    int64_t number;  ///< of the batch's
    int64_t slot;    ///< buffer for its sums
    bool merge;      ///< when they are complete they are to be added to those of first_slot()
    int64_t first_slot() const { return number / kParts * kParts; }
  };

  void start();
  /// The next part for a thread, of its own half while there are any. Any thread may call it at any time.
  std::optional<Part> take(int thread);
  /// Of so many tiles, the first one of a part; that of number kPartials is the end.
  static int64_t first_tile(int64_t number, int64_t tiles);
  /// After the part's sums are complete, and merged where it says so.
  void finish(const Part& part, int thread);
  /// Buffers of a half in the order in which they add up; valid when every part is finished.
  std::span<const int32_t> slots(int64_t half) const;

 private:
  struct Half {
    int64_t next = 0;    ///< part to take
    int64_t merged = 0;  ///< so many first parts are in the first buffer
    int thread = -1;     ///< that did it
    int64_t count = 0;
    std::array<int32_t, kParts> slots{};
  };

  std::mutex mutex_;
  std::array<Half, kHalves> halves_;
};

}  // namespace branchsae::cpu
