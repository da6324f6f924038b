#pragma once
/// Reading image bytes from whatever a path turns out to be.
#include <cstdint>
#include <string>
#include <string_view>

namespace branchsae::loader {

/// An open regular file. Opening never blocks, also on a FIFO or a device.
class RegularFile {
 public:
  /// Throws InputError with the reason, without the path: absent, no permission, a folder, not a file.
  explicit RegularFile(const std::string& path);
  ~RegularFile();
  RegularFile(const RegularFile&) = delete;
  RegularFile& operator=(const RegularFile&) = delete;

  int descriptor() const { return descriptor_; }
  int64_t size() const { return size_; }
  /// Throws InputError when the file ends before or cannot be read.
  void read(int64_t offset, int64_t count, void* to) const;
  /// Up to `count` bytes from the beginning.
  std::string head(int64_t count) const;

 private:
  int descriptor_ = -1;
  int64_t size_ = 0;
};

/// Throws InputError with the reason when the range is empty or longer than max_bytes.
std::string read_range(const RegularFile& file, int64_t offset, int64_t count, int64_t max_bytes);

/// Ends in one of the extensions under which images are kept, in any case: those that are read, and those
/// that are reported as unreadable because their format is not supported.
bool has_image_extension(std::string_view name);
/// The extensions that are read, for messages.
inline constexpr std::string_view kImageExtensions =
    ".jpg .jpeg .jpe .jfif .png .bmp .gif .tga .pbm .pgm .ppm .pnm";

/// Valid UTF-8 without control characters: other bytes become \xNN, a backslash becomes two.
std::string printable_path(std::string_view raw);

}  // namespace branchsae::loader
