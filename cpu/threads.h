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

/// body(i) for i in [0, count), in equal consecutive shares. The body must not throw.
template <class Body>
void parallel_for(int64_t count, const Body& body) {
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < count; ++i) body(i);
}

}  // namespace branchsae::cpu
