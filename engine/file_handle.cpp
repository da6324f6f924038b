#include "engine/file_handle.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "engine/error.h"

namespace branchsae {
namespace fs = std::filesystem;
namespace {

[[noreturn]] void fail(const char* what, const fs::path& path, int error) {
  throw IoError(fmt::format("cannot {} '{}': {}", what, path.string(), std::strerror(error)));
}

int open_file(const fs::path& path, int flags) {
  const int file = ::open(path.c_str(), flags | O_CLOEXEC, 0644);
  if (file < 0) fail("write", path, errno);
  return file;
}

}  // namespace

std::optional<FileHandle> FileHandle::open_for_reading(const fs::path& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return std::nullopt;
  return FileHandle(file, path);
}

FileHandle FileHandle::open_for_writing(const fs::path& path) {
  return {open_file(path, O_RDWR), path};
}

FileHandle FileHandle::create(const fs::path& path) {
  return {open_file(path, O_RDWR | O_CREAT | O_TRUNC), path};
}

FileHandle::~FileHandle() {
  if (file_ >= 0) ::close(file_);
}

FileHandle::FileHandle(FileHandle&& other) noexcept : file_(other.file_), path_(std::move(other.path_)) {
  other.file_ = -1;
}

int64_t FileHandle::read_at(int64_t offset, void* bytes, int64_t count) const {
  auto* to = static_cast<char*>(bytes);
  int64_t done = 0;
  while (done < count) {
    const ssize_t got = ::pread(file_, to + done, static_cast<size_t>(count - done), offset + done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return -1;
    if (got == 0) break;
    done += got;
  }
  return done;
}

void FileHandle::write_at(int64_t offset, const void* bytes, int64_t count) const {
  const auto* from = static_cast<const char*>(bytes);
  int64_t done = 0;
  while (done < count) {
    const ssize_t put = ::pwrite(file_, from + done, static_cast<size_t>(count - done), offset + done);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) fail("write", path_, put < 0 ? errno : ENOSPC);
    done += put;
  }
}

void FileHandle::allocate(int64_t size_bytes) const {
  int error = EINTR;
  while (error == EINTR) error = ::posix_fallocate(file_, 0, size_bytes);
  if (error != 0) fail("write", path_, error);
}

int64_t FileHandle::size_bytes() const {
  struct stat status {};
  return ::fstat(file_, &status) == 0 ? static_cast<int64_t>(status.st_size) : 0;
}

void FileHandle::expect(int64_t offset, int64_t count) const {
  ::posix_fadvise(file_, offset, count, POSIX_FADV_WILLNEED);
}

DiskSpace disk_space(const fs::path& path) {
  struct statvfs status {};
  if (::statvfs(path.c_str(), &status) != 0) fail("ask for the free room of", path, errno);
  const auto block = static_cast<int64_t>(status.f_frsize);
  return {static_cast<int64_t>(status.f_bavail) * block, static_cast<int64_t>(status.f_blocks) * block};
}

}  // namespace branchsae
