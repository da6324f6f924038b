#pragma once
/// An open file that is read and written at places.
#include <cstdint>
#include <filesystem>
#include <optional>

namespace branchsae {

class FileHandle {
 public:
  /// Unset when the file cannot be opened: it is not there, or may not be read; errno says why.
  static std::optional<FileHandle> open_for_reading(const std::filesystem::path& path);
  /// To be read and written; an existing one. Throws IoError.
  static FileHandle open_for_writing(const std::filesystem::path& path);
  /// New and empty, in place of what has this name. Throws IoError.
  static FileHandle create(const std::filesystem::path& path);
  ~FileHandle();
  FileHandle(FileHandle&& other) noexcept;
  FileHandle(const FileHandle&) = delete;
  FileHandle& operator=(const FileHandle&) = delete;
  FileHandle& operator=(FileHandle&&) = delete;

  /// Bytes read, fewer than asked for at the end of the file; -1 when reading failed (errno).
  int64_t read_at(int64_t offset, void* bytes, int64_t count) const;
  /// Throws IoError.
  void write_at(int64_t offset, const void* bytes, int64_t count) const;
  /// Makes the file at least this long with room for all of it on the disk. Throws IoError when there is too
  /// little: later writes inside it cannot fail for want of room.
  void allocate(int64_t size_bytes) const;
  int64_t size_bytes() const;
  /// Tells the system that the range will be read soon.
  void expect(int64_t offset, int64_t count) const;

 private:
  FileHandle(int file, std::filesystem::path path) : file_(file), path_(std::move(path)) {}

  int file_ = -1;
  std::filesystem::path path_;
};

/// Bytes that may still be written to the file system that `path` is on, and how large it is.
struct DiskSpace {
  int64_t free_bytes = 0, total_bytes = 0;
};
/// Throws IoError.
DiskSpace disk_space(const std::filesystem::path& path);

}  // namespace branchsae
