#pragma once
/// Independent pieces of work on a few threads of the host.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace branchsae {

/// work(i) for every i in [0, count), this thread taking part; which thread takes which piece is open, so
/// that a result must not depend on it. What a piece throws is thrown here when all threads have ended; no
/// further pieces are begun.
template <class Work>
void on_threads(int threads, int64_t count, const Work& work) {
  std::atomic<int64_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;
  const auto take = [&] {
    try {
      for (int64_t i = next++; i < count; i = next++) work(i);
    } catch (...) {
      next = count;
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  std::vector<std::thread> others;
  try {
    for (int i = 1; i < std::min<int64_t>(threads, count); ++i) others.emplace_back(take);
  } catch (const std::system_error&) {  // NOLINT(bugprone-empty-catch): fewer threads do it too
  }
  take();
  for (std::thread& thread : others) thread.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace branchsae
