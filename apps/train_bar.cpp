#include "apps/train_bar.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "apps/numbers.h"
#include "apps/text_width.h"

namespace branchsae::apps {
namespace {

constexpr int kLeastBar = 10, kMostBar = 32;

struct Figure {
  std::string text;
  int importance;  ///< 0 stays longest
};

/// "152k", "1.20M": no space, for a narrow line.
std::string tight(double value) {
  std::string text = with_prefix(value);
  std::erase(text, ' ');
  return text;
}

/// "2m05s", "1h20m".
std::string tight_duration(double seconds) {
  if (!(seconds < 1e8)) return "?";
  const auto total = static_cast<int64_t>(std::llround(std::max(seconds, 0.0)));
  if (total < 60) return fmt::format("{}s", total);
  if (total < 3600) return fmt::format("{}m{:02}s", total / 60, total % 60);
  return fmt::format("{}h{:02}m", total / 3600, total / 60 % 60);
}

double highest(const std::vector<TapProgress>& taps, double TapProgress::*figure) {
  double most = taps.front().*figure;
  for (const TapProgress& tap : taps) most = std::max(most, tap.*figure);
  return most;
}

double share_done(const TrainProgress& now) {
  const bool evaluating = now.phase == TrainProgress::Phase::kEvaluating;
  const auto done = static_cast<double>(evaluating ? now.images : now.tokens);
  const auto total = static_cast<double>(evaluating ? now.total_images : now.total_tokens);
  return total > 0 ? std::min(done / total, 1.0) : 0;
}

/// In the order in which they are shown.
std::vector<Figure> figures(const TrainProgress& now) {
  using enum TrainProgress::Phase;
  std::vector<Figure> all;
  const bool evaluating = now.phase == kEvaluating;
  all.push_back({fmt::format("{:.0f}%", std::floor(100 * share_done(now))), 0});
  if (evaluating) {
    all.push_back(
        {fmt::format("{}/{} images", with_separators(now.images), with_separators(now.total_images)), 2});
  } else {
    all.push_back({fmt::format("{}/{} tokens", tight(static_cast<double>(now.tokens)),
                               tight(static_cast<double>(now.total_tokens))),
                   9});
  }
  if (now.phase == kReading) {
    all.push_back({fmt::format("read {}/{}", with_separators(now.images), with_separators(now.total_images)),
                   now.taps.empty() ? 3 : 8});
  }
  if (now.tokens_per_second > 0 && !evaluating) all.push_back({tight(now.tokens_per_second) + " tok/s", 4});
  if (now.images_per_second > 0) all.push_back({tight(now.images_per_second) + " img/s", 6});
  if (!now.taps.empty() && !evaluating) {
    const char* at_most = now.taps.size() > 1 ? "<=" : " ";
    all.push_back({fmt::format("loss{}{}", at_most, as_figure(highest(now.taps, &TapProgress::loss), 3)), 5});
    all.push_back({fmt::format("fvu{}{}", at_most, as_figure(highest(now.taps, &TapProgress::fvu), 2)), 1});
    all.push_back({fmt::format("dead{}{:.1f}%", at_most, 100 * highest(now.taps, &TapProgress::dead)), 3});
  }
  if (now.failed_members > 0)
    all.push_back({fmt::format("{} of {} failed", now.failed_members, now.members), 7});
  if (now.seconds_left >= 0) all.push_back({tight_duration(now.seconds_left) + " left", 2});
  return all;
}

/// The figures of at most this importance, joined by `gap`.
std::string joined(const std::vector<Figure>& all, int importance, const char* gap) {
  std::string text;
  for (const Figure& figure : all) {
    if (figure.importance <= importance) text += (text.empty() ? "" : gap) + figure.text;
  }
  return text;
}

}  // namespace

std::string train_line(const TrainProgress& now, int columns) {
  const std::vector<Figure> all = figures(now);
  const char* title = now.phase == TrainProgress::Phase::kEvaluating ? "evaluate" : "train";
  if (columns == 0) return fmt::format("{} {}", title, joined(all, 9, "  "));
  // A terminal's last column stays free: a line that wraps cannot be redrawn.
  const auto room = [&](const std::string& text) {
    return columns - 1 - static_cast<int>(display_width(text)) - 1;
  };
  for (int importance = 9;; --importance) {
    const std::string wide = joined(all, importance, "  "), narrow = joined(all, importance, " ");
    const std::string& text = room(wide) >= kLeastBar ? wide : narrow;
    if (room(text) < kLeastBar && importance > 0) continue;
    return fmt::format("{} {}", bar_text(share_done(now), std::clamp(room(text), 2, kMostBar)), text);
  }
}

}  // namespace branchsae::apps
