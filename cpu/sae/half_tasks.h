#pragma once
/// Tasks of the two halves of a batch, for threads that work best on what they wrote themselves.
#include <atomic>
#include <cstdint>
#include <optional>

namespace branchsae::cpu {

/// Each half has tasks 0, 1, ... Threads take those of their own half first, even threads of the first half,
/// and help the other one then.
class HalfTasks {
 public:
  static constexpr int64_t kHalves = 2;
  struct Task {
    int64_t half, number;
  };

  /// While no thread takes any.
  void start(int64_t first_half, int64_t second_half);
  /// Any thread may call it at any time.
  std::optional<Task> take(int thread);

 private:
  struct alignas(64) Half {
    std::atomic<int64_t> next = 0;
    int64_t count = 0;
  };
  Half halves_[kHalves];
};

}  // namespace branchsae::cpu
