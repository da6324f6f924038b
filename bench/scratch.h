#pragma once
/// A folder that goes when the benchmark ends.
#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>

namespace branchsae::bench {

class Scratch {
 public:
  Scratch() : path_(std::filesystem::temp_directory_path() / fmt::format("branchsae-bench-{}", ::getpid())) {
    std::filesystem::create_directories(path_);
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace branchsae::bench
