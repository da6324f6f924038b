#pragma once
/// One process at a time works on a run.
#include <filesystem>

namespace branchsae::model {

/// Holds RUN/lock, which names the owner, from construction to destruction. The system releases it when the
/// process dies, however it dies, so a leftover file is no obstacle.
class RunLock {
 public:
  /// Throws InputError naming the owner when another process holds it, IoError when it cannot be written.
  explicit RunLock(const std::filesystem::path& run);
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  std::filesystem::path path_;
  int file_ = -1;
};

}  // namespace branchsae::model
