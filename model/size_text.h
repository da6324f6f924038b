#pragma once
/// Bytes in messages.
#include <fmt/format.h>

#include <string>

namespace branchsae::model {

/// 999 B, 1.5 KiB, 20.0 MiB, 1.50 GiB: the unit that fits.
inline std::string size_text(double bytes) {
  if (bytes < 1024) return fmt::format("{:.0f} B", bytes);
  if (bytes < 1024 * 1000) return fmt::format("{:.1f} KiB", bytes / 1024);
  const double mib = bytes / (1 << 20);
  return mib < 1000 ? fmt::format("{:.1f} MiB", mib) : fmt::format("{:.2f} GiB", mib / 1024);
}
inline std::string size_text(int64_t bytes) {
  return size_text(static_cast<double>(bytes));
}

}  // namespace branchsae::model
