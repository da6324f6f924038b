#pragma once
/// How far long work is: a bar redrawn on a terminal, a line every few seconds otherwise, on stderr.
#include <chrono>
#include <cstdint>
#include <string>

namespace branchsae::apps {

class Progress {
 public:
  /// total: 0 when unknown. unit: "images", "tokens". `first` is what was done before (resume).
  Progress(std::string title, int64_t total, std::string unit, bool shown, int64_t first = 0);
  /// Removes the bar.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Cheap: draws at most ten times a second on a terminal, every five seconds elsewhere.
  void update(int64_t done, const std::string& extra = "");

 private:
  using Clock = std::chrono::steady_clock;
  std::string line(int64_t done, const std::string& extra, int columns) const;
  void measure_rate(int64_t done, Clock::time_point now);

  std::string title_, unit_;
  int64_t total_, rated_at_;
  bool shown_, terminal_;
  Clock::time_point start_, drawn_, rated_;
  double rate_ = 0;  ///< units per second, smoothed over about ten seconds
};

}  // namespace branchsae::apps
