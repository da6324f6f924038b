#pragma once
/// What tests of the disk cache share: damage, and what was said about it.
#include <filesystem>
#include <mutex>
#include <string>
#include <vector>

#include "engine/log.h"

namespace branchsae::test {

/// Collects the library's messages while it lives.
class LogCapture {
 public:
  LogCapture();
  ~LogCapture();
  std::vector<std::string> warnings() const;
  /// Whether any warning contains the text.
  bool mentions(const std::string& text) const;

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> warnings_;
};

/// Flips the lowest bit of one byte of a file.
void flip_bit(const std::filesystem::path& path, int64_t offset);

}  // namespace branchsae::test
