#pragma once
/// How far long work is: a bar redrawn on a terminal, a line every few seconds otherwise, on stderr.
#include <chrono>
#include <cstdint>
#include <string>

namespace branchsae::apps {

/// Where such a line goes, and when.
class StatusLine {
 public:
  explicit StatusLine(bool shown);
  /// Removes the line from a terminal.
  ~StatusLine();
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;

  /// Whether it is time for another one: ten times a second on a terminal, every five seconds elsewhere.
  /// Cheap. True means that show() follows.
  bool due();
  /// Columns of the terminal; 0 when stderr is none.
  int columns() const;
  void show(const std::string& text);

 private:
  using Clock = std::chrono::steady_clock;
  bool shown_, terminal_;
  Clock::time_point drawn_ = Clock::now();
};

class Progress {
 public:
  /// total: 0 when unknown. unit: "images", "tokens". `first` is what was done before (resume).
  Progress(std::string title, int64_t total, std::string unit, bool shown, int64_t first = 0);
  /// Draws when it is time to.
  void update(int64_t done, const std::string& extra = "");

 private:
  using Clock = std::chrono::steady_clock;
  std::string line(int64_t done, const std::string& extra, int columns) const;
  void measure_rate(int64_t done, Clock::time_point now);

  std::string title_, unit_;
  int64_t total_, rated_at_;
  StatusLine status_;
  Clock::time_point start_, rated_;
  double rate_ = 0;  ///< units per second, smoothed over about ten seconds
};

/// "[====    ]", `width` columns with its brackets.
std::string bar_text(double share, int width);

}  // namespace branchsae::apps
