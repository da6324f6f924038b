#pragma once
/// A file that one process at a time holds.
#include <filesystem>
#include <string>

namespace branchsae::model {

/// Holds `path`, which names the owner, from construction to destruction. The system releases it when the
/// process dies, however it dies, so a leftover file is no obstacle.
class FolderLock {
 public:
  /// Throws IoError when the file cannot be written.
  explicit FolderLock(std::filesystem::path path);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

  bool held() const { return file_ >= 0; }
  /// Who holds it when we do not: "process 12 on host".
  const std::string& owner() const { return owner_; }

 private:
  bool try_once();

  std::filesystem::path path_;
  int file_ = -1;
  std::string owner_;
};

}  // namespace branchsae::model
