#include "apps/messages.h"

#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "apps/text_width.h"
#include "engine/log.h"

namespace branchsae::apps {
namespace {

/// Nothing useful can be done when stderr itself fails, so errors are ignored here.
void write_stderr(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
    if (written <= 0) return;
    text.remove_prefix(static_cast<size_t>(written));
  }
}

constexpr std::string_view kEraseLine = "\r\x1b[K";

/// Writes messages above the status line.
class StderrSink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  void set_status(const std::string& text) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (text.empty() && status_.empty()) return;
    status_ = text;
    write_stderr(std::string(kEraseLine) + status_);
  }

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    std::string text;
    if (!status_.empty()) text += kEraseLine;
    text.append(message.payload.data(), message.payload.size());
    text += "\n" + status_;
    write_stderr(text);  // one call a message: lines of several processes do not mix
  }
  void flush_() override {}

 private:
  std::string status_;
};

struct State {
  std::shared_ptr<StderrSink> sink = std::make_shared<StderrSink>();
  std::shared_ptr<spdlog::logger> logger = std::make_shared<spdlog::logger>("branchsae", sink);
  std::mutex mutex;
  std::vector<std::string> held;
  Verbosity verbosity = Verbosity::kNormal;
  bool released = false;
};

State& state() {
  static State only;
  return only;
}

}  // namespace

void start_messages() {
  state().logger->set_level(spdlog::level::trace);
  set_log_sink([](LogLevel level, const std::string& message) {
    if (level == LogLevel::kWarning) warning(message);
    if (level == LogLevel::kInfo) info(message);
    if (level == LogLevel::kDebug && verbosity() == Verbosity::kVerbose) info(message);
  });
}

void set_verbosity(Verbosity value) {
  state().verbosity = value;
}

Verbosity verbosity() {
  return state().verbosity;
}

void info(const std::string& text) {
  if (verbosity() == Verbosity::kQuiet) return;
  const std::string line = "branchsae: " + printable(text);
  {
    const std::lock_guard<std::mutex> lock(state().mutex);
    if (!state().released && verbosity() != Verbosity::kVerbose) {
      state().held.push_back(line);
      return;
    }
  }
  state().logger->info("{}", line);
}

void warning(const std::string& text) {
  state().logger->warn("branchsae: warning: {}", printable(text));
}

void error(const std::string& text, const std::string& detail) {
  set_status_line("");
  state().logger->error("branchsae: error: {}", printable(text));
  if (verbosity() != Verbosity::kVerbose || detail.empty()) return;
  size_t begin = 0;
  while (begin < detail.size()) {
    const size_t end = std::min(detail.find('\n', begin), detail.size());
    state().logger->error("  {}", printable(std::string_view(detail).substr(begin, end - begin)));
    begin = end + 1;
  }
}

void release_info() {
  std::vector<std::string> held;
  {
    const std::lock_guard<std::mutex> lock(state().mutex);
    held.swap(state().held);
    state().released = true;
  }
  for (const std::string& line : held) state().logger->info("{}", line);
}

bool stderr_is_terminal() {
  const char* kind = std::getenv("TERM");
  return ::isatty(STDERR_FILENO) != 0 && kind != nullptr && std::string_view(kind) != "dumb";
}

void set_status_line(const std::string& text) {
  state().sink->set_status(text);
}

}  // namespace branchsae::apps
