#include "tests/model/cache_fixture.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>

namespace branchsae::test {

LogCapture::LogCapture() {
  set_log_sink([this](LogLevel level, const std::string& message) {
    const std::lock_guard lock(mutex_);
    if (level == LogLevel::kWarning) warnings_.push_back(message);
  });
}

LogCapture::~LogCapture() {
  set_log_sink({});
}

std::vector<std::string> LogCapture::warnings() const {
  const std::lock_guard lock(mutex_);
  return warnings_;
}

bool LogCapture::mentions(const std::string& text) const {
  return std::ranges::any_of(
      warnings(), [&](const std::string& message) { return message.find(text) != std::string::npos; });
}

void flip_bit(const std::filesystem::path& path, int64_t offset) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  REQUIRE(file);
  char byte = 0;
  file.seekg(offset).get(byte);
  file.seekp(offset).put(static_cast<char>(byte ^ 1));
}

}  // namespace branchsae::test
