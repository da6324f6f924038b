#pragma once
/// OpenMP threads of one piece of work.
#include <omp.h>

#include <cstdint>

namespace branchsae::cpu {

/// Threads of the parallel regions entered by this thread while the scope lives, oneDNN's included (Debian's
/// build uses OpenMP). OpenMP keeps this number per calling thread, so other threads of the process are not
/// affected.
class ThreadScope {
 public:
  explicit ThreadScope(int threads) : before_(omp_get_max_threads()) { omp_set_num_threads(threads); }
  ~ThreadScope() { omp_set_num_threads(before_); }
  ThreadScope(const ThreadScope&) = delete;
  ThreadScope& operator=(const ThreadScope&) = delete;

 private:
  int before_;
};

/// While it lives, what this thread calls opens no parallel regions and allocates nothing for them: for
/// threads that each do a whole piece of work by themselves.
class AloneScope {
 public:
  AloneScope() { alone() = true; }
  ~AloneScope() { alone() = false; }
  AloneScope(const AloneScope&) = delete;
  AloneScope& operator=(const AloneScope&) = delete;

  static bool& alone() {
    static thread_local bool value = false;
    return value;
  }
};

/// body(i) for i in [0, count), in equal consecutive shares. The body must not throw.
template <class Body>
void parallel_for(int64_t count, const Body& body) {
  if (AloneScope::alone()) {
    for (int64_t i = 0; i < count; ++i) body(i);
    return;
  }
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < count; ++i) body(i);
}

/// Which of the threads of parallel_for this is: 0 in a thread that is alone.
inline int worker_index() {
  return AloneScope::alone() ? 0 : omp_get_thread_num();
}

}  // namespace branchsae::cpu
