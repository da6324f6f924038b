#include "model/folder_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "engine/error.h"

namespace branchsae::model {
namespace fs = std::filesystem;
namespace {

std::string own_name() {
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host = {};
  return fmt::format("process {} on {}", ::getpid(), host.data());
}

std::string read_owner(int file) {
  std::array<char, 512> text{};
  const ssize_t size = ::pread(file, text.data(), text.size() - 1, 0);
  std::string owner(text.data(), size > 0 ? static_cast<size_t>(size) : 0);
  while (!owner.empty() && owner.back() == '\n') owner.pop_back();
  return owner.empty() ? "another process" : owner;
}

/// A former owner may remove the file between our opening it and our locking it: then we hold nothing.
bool is_still_there(int file, const fs::path& path) {
  struct stat held {
  }, named{};
  return ::fstat(file, &held) == 0 && ::stat(path.c_str(), &named) == 0 && held.st_ino == named.st_ino &&
         held.st_dev == named.st_dev;
}

void write_owner(int file, const fs::path& path) {
  const std::string owner = own_name() + "\n";
  if (::ftruncate(file, 0) == 0 &&
      ::pwrite(file, owner.data(), owner.size(), 0) == static_cast<ssize_t>(owner.size())) {
    return;
  }
  const int error = errno;
  ::close(file);
  throw IoError(fmt::format("cannot write '{}': {}", path.string(), std::strerror(error)));
}

}  // namespace

FolderLock::FolderLock(fs::path path) : path_(std::move(path)) {
  while (!try_once()) {
  }
  if (held()) write_owner(file_, path_);
}

FolderLock::~FolderLock() {
  if (!held()) return;
  ::unlink(path_.c_str());
  ::close(file_);
}

/// True when it is clear whether we hold it.
bool FolderLock::try_once() {
  const int file = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (file < 0) throw IoError(fmt::format("cannot write '{}': {}", path_.string(), std::strerror(errno)));
  if (::flock(file, LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    owner_ = read_owner(file);
    ::close(file);
    if (error == EWOULDBLOCK) return true;
    throw IoError(fmt::format("cannot lock '{}': {}", path_.string(), std::strerror(error)));
  }
  if (is_still_there(file, path_)) {
    file_ = file;
    return true;
  }
  ::close(file);
  return false;
}

}  // namespace branchsae::model
