#include "model/plot/axis.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace branchsae::model {
namespace {

constexpr double kTicks = 5;

/// The smallest of 1, 2, 5 times a power of ten that is at least `least`.
double round_step(double least) {
  const double power = std::pow(10.0, std::floor(std::log10(least)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= least * (1 - 1e-9)) return factor * power;
  }
  return 10 * power;
}

void set_linear_ticks(Axis& axis) {
  const double step = round_step((axis.high - axis.low) / kTicks);
  const double first = std::floor(axis.low / step + 1e-9), last = std::ceil(axis.high / step - 1e-9);
  for (double i = first; i <= last; ++i) axis.ticks.push_back({i * step, tick_label(i * step)});
}

/// Powers of ten; with 2 and 5 times as much in between where there are few.
void set_log_ticks(Axis& axis) {
  const double first = std::floor(std::log10(axis.low) + 1e-9),
               last = std::ceil(std::log10(axis.high) - 1e-9);
  const double every = std::max(1.0, std::ceil((last - first) / 8));
  const bool few = last - first <= 2;
  for (double power = first; power <= last; power += every) {
    for (const double factor : {1.0, 2.0, 5.0}) {
      const double value = factor * std::pow(10.0, power);
      if (factor > 1 && (!few || power == last)) break;
      axis.ticks.push_back({value, tick_label(value)});
    }
  }
  // Ticks beyond the values only as far as the next one.
  const auto unused_at_front = [&] {
    return axis.ticks.size() > 2 && axis.ticks[1].value <= axis.low * (1 + 1e-9);
  };
  while (unused_at_front()) axis.ticks.erase(axis.ticks.begin());
  const auto unused_at_back = [&] {
    return axis.ticks.size() > 2 && axis.ticks[axis.ticks.size() - 2].value >= axis.high * (1 - 1e-9);
  };
  while (unused_at_back()) axis.ticks.pop_back();
}

}  // namespace

double Axis::place(double value) const {
  if (log) return std::log(value / low) / std::log(high / low);
  return (value - low) / (high - low);
}

Axis round_axis(std::string label, bool log, double low, double high) {
  if (!(high > low)) {
    const double around = std::isfinite(low) ? low : 1;
    low = log ? around / 2 : around - std::max(std::abs(around) / 2, 0.5);
    high = log ? around * 2 : around + std::max(std::abs(around) / 2, 0.5);
  }
  Axis axis{std::move(label), log, low, high, {}};
  if (log) {
    set_log_ticks(axis);
  } else {
    set_linear_ticks(axis);
  }
  axis.low = std::min(low, axis.ticks.front().value);
  axis.high = std::max(high, axis.ticks.back().value);
  return axis;
}

Axis exact_axis(std::string label, bool log, double low, double high) {
  Axis axis = round_axis(std::move(label), log, low, high);
  if (!(high > low)) return axis;
  axis.low = low;
  axis.high = high;
  const double slack = 1e-9;
  std::erase_if(axis.ticks, [&](const Tick& tick) {
    return axis.place(tick.value) < -slack || axis.place(tick.value) > 1 + slack;
  });
  return axis;
}

Axis axis_at(std::string label, bool log, std::vector<Tick> ticks) {
  std::ranges::sort(ticks, {}, &Tick::value);
  const double first = ticks.front().value, last = ticks.back().value;
  Axis axis{std::move(label), log, first, last, std::move(ticks)};
  if (log) {
    const double margin = last > first ? std::pow(last / first, 0.06) : 2;
    axis.low = first / margin;
    axis.high = last * margin;
  } else {
    const double margin = last > first ? (last - first) * 0.06 : 0.5;
    axis.low = first - margin;
    axis.high = last + margin;
  }
  return axis;
}

std::string tick_label(double value) {
  static constexpr std::array<std::pair<double, const char*>, 4> kPrefixes{
      {{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}}};
  if (std::abs(value) < 1e-12) return "0";
  for (const auto& [factor, name] : kPrefixes) {
    if (std::abs(value) >= factor * (1 - 1e-9)) return fmt::format("{:.4g}{}", value / factor, name);
  }
  std::string text = fmt::format("{:.4g}", value);
  // "1e-05" -> "1e-5"
  const size_t zero = text.find("e-0");
  if (zero != std::string::npos) text.erase(zero + 2, 1);
  return text;
}

}  // namespace branchsae::model
