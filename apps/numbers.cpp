#include "apps/numbers.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <utility>
#include <vector>

namespace branchsae::apps {
namespace {

using Units = std::vector<std::pair<std::string_view, double>>;

constexpr double kLargest = 4.611686018427388e18;  // 2^62

struct NumberAndUnit {
  double number;
  std::string_view unit;
};

std::optional<NumberAndUnit> split_unit(std::string_view text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || !std::isfinite(number)) return std::nullopt;
  std::string_view unit = text.substr(static_cast<size_t>(end - text.data()));
  while (!unit.empty() && unit.front() == ' ') unit.remove_prefix(1);
  return NumberAndUnit{number, unit};
}

std::optional<double> scaled(std::string_view text, const Units& units) {
  const auto parts = split_unit(text);
  if (!parts) return std::nullopt;
  for (const auto& [name, factor] : units) {
    if (parts->unit == name) return parts->number * factor;
  }
  return std::nullopt;
}

std::optional<int64_t> whole(std::optional<double> value) {
  if (!value || std::abs(*value) > kLargest || *value != std::floor(*value)) return std::nullopt;
  return static_cast<int64_t>(*value);
}

}  // namespace

std::optional<int64_t> parse_count(std::string_view text) {
  // Plain digits first: a double would lose the last ones of a long seed.
  int64_t exact = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), exact);
  if (error == std::errc{} && end == text.data() + text.size()) return exact;
  static const Units units = {{"", 1},    {"k", 1e3}, {"K", 1e3},  {"M", 1e6},
                              {"G", 1e9}, {"B", 1e9}, {"T", 1e12}, {"m", 1e6}};
  return whole(scaled(text, units));
}

std::optional<int64_t> parse_bytes(std::string_view text) {
  static const Units units = {{"", 1},
                              {"B", 1},
                              {"k", 1e3},
                              {"K", 1e3},
                              {"kB", 1e3},
                              {"KB", 1e3},
                              {"M", 1e6},
                              {"MB", 1e6},
                              {"G", 1e9},
                              {"GB", 1e9},
                              {"T", 1e12},
                              {"TB", 1e12},
                              {"KiB", 1024.0},
                              {"MiB", 1024.0 * 1024},
                              {"GiB", 1024.0 * 1024 * 1024},
                              {"TiB", 1024.0 * 1024 * 1024 * 1024}};
  auto size = scaled(text, units);
  if (size) size = std::floor(*size);
  return whole(size);
}

std::optional<double> parse_seconds(std::string_view text) {
  static const Units units = {{"s", 1},    {"sec", 1},   {"m", 60},    {"min", 60},
                              {"h", 3600}, {"hr", 3600}, {"d", 86400}, {"ms", 1e-3}};
  return scaled(text, units);
}

std::optional<double> parse_real(std::string_view text) {
  return scaled(text, {{"", 1}});
}

std::optional<bool> parse_bool(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  if (lower == "1" || lower == "true" || lower == "yes" || lower == "on") return true;
  if (lower == "0" || lower == "false" || lower == "no" || lower == "off") return false;
  return std::nullopt;
}

std::string with_separators(int64_t value) {
  const std::string digits = std::to_string(value);
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    const size_t left = digits.size() - i;
    if (left % 3 == 0 && i > 0 && digits[i - 1] != '-') text += ',';
    text += digits[i];
  }
  return text;
}

std::string with_prefix(double value) {
  static constexpr std::pair<double, const char*> kPrefixes[] = {
      {1e12, " T"}, {1e9, " G"}, {1e6, " M"}, {1e3, " k"}};
  for (const auto& [factor, name] : kPrefixes) {
    if (std::abs(value) >= factor) {
      const double mantissa = value / factor;
      return fmt::format("{:.{}f}{}", mantissa, mantissa < 10 ? 2 : mantissa < 100 ? 1 : 0, name);
    }
  }
  return fmt::format("{:.{}f}", value, std::abs(value) < 10 && value != std::floor(value) ? 2 : 0);
}

std::string as_bytes(int64_t size_bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(size_bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", size_bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string as_duration(double seconds) {
  if (!(seconds < 1e9)) return "?";
  const auto total = static_cast<int64_t>(std::llround(std::max(seconds, 0.0)));
  if (total < 60) return fmt::format("{} s", total);
  if (total < 3600) return fmt::format("{} min {:02} s", total / 60, total % 60);
  return fmt::format("{} h {:02} min", total / 3600, total / 60 % 60);
}

std::string as_figure(double value, int digits) {
  if (!std::isfinite(value)) return fmt::format("{}", value);
  if (value == 0) return "0";
  const double size = std::abs(value);
  if (size < 1e-4 || size >= 1e6) return fmt::format("{:.{}e}", value, digits - 1);
  const int leading = static_cast<int>(std::floor(std::log10(size)));
  return fmt::format("{:.{}f}", value, std::max(0, digits - 1 - leading));
}

}  // namespace branchsae::apps
