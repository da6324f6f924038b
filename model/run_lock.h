#pragma once
/// One process at a time works on a run.
#include <filesystem>

#include "model/folder_lock.h"

namespace branchsae::model {

/// Holds RUN/lock from construction to destruction.
class RunLock {
 public:
  /// Throws InputError naming the owner when another process holds it, IoError when it cannot be written.
  explicit RunLock(const std::filesystem::path& run);

 private:
  FolderLock lock_;
};

}  // namespace branchsae::model
