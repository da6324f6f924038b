#include "tests/test_data.h"

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace branchsae::test {
namespace fs = std::filesystem;

namespace {
std::atomic<int> skipped{0};

struct TemporaryRoot {
  fs::path path = fs::temp_directory_path() / ("branchsae-test-" + std::to_string(::getpid()));
  TemporaryRoot() { fs::create_directories(path); }
  ~TemporaryRoot() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
};
}  // namespace

fs::path source_folder() {
  return BRANCHSAE_SOURCE_DIR;
}

std::optional<fs::path> data_folder() {
  if (const char* set = std::getenv("BRANCHSAE_DATA")) {
    if (*set == '\0') return std::nullopt;
    return fs::path(set);
  }
  for (const fs::path& candidate : {source_folder() / "data", source_folder().parent_path() / "shared"}) {
    if (fs::exists(candidate / "model" / "googlenet.onnx")) return candidate;
  }
  return std::nullopt;
}

fs::path temporary_folder() {
  static TemporaryRoot root;
  static std::atomic<int> counter{0};
  fs::path folder = root.path / std::to_string(counter++);
  fs::create_directories(folder);
  return folder;
}

void skip(const char* reason) {
  ++skipped;
  std::fprintf(stderr, "SKIPPED: %s\n", reason);
}

int skipped_count() {
  return skipped;
}

namespace {
std::string (*required)() = nullptr;
}

void require(std::string (*missing)()) {
  required = missing;
}

std::string missing_requirement() {
  return required == nullptr ? std::string() : required();
}

}  // namespace branchsae::test
