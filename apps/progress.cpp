#include "apps/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "apps/messages.h"
#include "apps/numbers.h"
#include "apps/text_width.h"

namespace branchsae::apps {
namespace {

constexpr double kTerminalSeconds = 0.1, kLineSeconds = 5.0, kSmoothSeconds = 10.0;

int terminal_columns() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

/// Drops whole UTF-8 characters until the text fits: a line that wraps cannot be redrawn.
std::string fitted(std::string text, int columns) {
  while (display_width(text) >= columns) {
    while (!text.empty() && (static_cast<unsigned char>(text.back()) & 0xC0) == 0x80) text.pop_back();
    if (!text.empty()) text.pop_back();
  }
  return text;
}

double seconds(std::chrono::steady_clock::duration span) {
  return std::chrono::duration<double>(span).count();
}

}  // namespace

std::string bar_text(double share, int width) {
  const int inside = std::max(width - 2, 0);
  const int full = static_cast<int>(std::clamp(share, 0.0, 1.0) * inside);
  return fmt::format("[{:=<{}}{: <{}}]", "", full, "", inside - full);
}

StatusLine::StatusLine(bool shown)
    : shown_(shown && verbosity() != Verbosity::kQuiet), terminal_(stderr_is_terminal()) {}

StatusLine::~StatusLine() {
  if (shown_ && terminal_) set_status_line("");
}

bool StatusLine::due() {
  if (!shown_) return false;
  const auto now = Clock::now();
  if (seconds(now - drawn_) < (terminal_ ? kTerminalSeconds : kLineSeconds)) return false;
  drawn_ = now;
  return true;
}

int StatusLine::columns() const {
  return terminal_ ? terminal_columns() : 0;
}

void StatusLine::show(const std::string& text) {
  release_info();
  if (terminal_) {
    set_status_line(fitted(text, terminal_columns()));
  } else {
    info(text);
  }
}

Progress::Progress(std::string title, int64_t total, std::string unit, bool shown, int64_t first)
    : title_(std::move(title)),
      unit_(std::move(unit)),
      total_(total),
      rated_at_(first),
      status_(shown),
      start_(Clock::now()),
      rated_(start_) {}

void Progress::measure_rate(int64_t done, Clock::time_point now) {
  const double span = seconds(now - rated_);
  if (span <= 0) return;
  const double current = static_cast<double>(done - rated_at_) / span;
  const double age = seconds(now - start_);
  const double weight = 1 - std::exp(-span / std::min(kSmoothSeconds, std::max(age, 1e-3)));
  rate_ = rate_ == 0 ? current : rate_ + weight * (current - rate_);
  rated_ = now;
  rated_at_ = done;
}

std::string Progress::line(int64_t done, const std::string& extra, int columns) const {
  std::string text = title_;
  const std::string whole = total_ > 0 ? fmt::format("/{}", with_separators(total_)) : "";
  if (total_ > 0) {
    const double share = static_cast<double>(done) / static_cast<double>(total_);
    if (columns > 0) text += fmt::format(" {}", bar_text(share, std::clamp(columns / 8, 8, 30) + 2));
    text += fmt::format(" {:3.0f} %", std::floor(100 * std::min(share, 1.0)));
  }
  text += fmt::format("  {}{} {}", with_separators(done), whole, unit_);
  if (rate_ > 0) {
    text += fmt::format("  {} {}/s", with_prefix(rate_), unit_);
    if (total_ > done)
      text += fmt::format("  {} left", as_duration(static_cast<double>(total_ - done) / rate_));
  }
  if (!extra.empty()) text += fmt::format("  {}", extra);
  return text;
}

void Progress::update(int64_t done, const std::string& extra) {
  if (!status_.due()) return;
  measure_rate(done, Clock::now());
  status_.show(line(done, extra, status_.columns()));
}

}  // namespace branchsae::apps
