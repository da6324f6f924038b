#pragma once
/// An axis of a chart: which values it spans, where its ticks are, and what they say.
#include <string>
#include <vector>

namespace branchsae::model {

struct Tick {
  double value = 0;
  std::string label;
};

struct Axis {
  std::string label;
  bool log = false;  ///< values above 0 only
  double low = 0, high = 1;
  std::vector<Tick> ticks;

  /// 0 at low, 1 at high.
  double place(double value) const;
};

/// About five ticks at round values that enclose low..high, which the axis spans with them. On a log axis low
/// is above 0; equal or unordered limits are widened.
Axis round_axis(std::string label, bool log, double low, double high);

/// The same with exactly these limits, and only the ticks between them: for a range that is known.
Axis exact_axis(std::string label, bool log, double low, double high);

/// Ticks at these values; the axis reaches a little beyond them. At least one value.
Axis axis_at(std::string label, bool log, std::vector<Tick> ticks);

/// Short: 0.02, 3e-5, 150k, 1.5M.
std::string tick_label(double value);

}  // namespace branchsae::model
