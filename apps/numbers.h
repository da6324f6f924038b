#pragma once
/// Numbers as people write them on a command line, and as they like to read them.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace branchsae::apps {

/// "4096", "20M", "1.5k", "3e6": a whole number; k, M, G, T are powers of 1000. Unset when it is no such
/// number, or too large for 2^62.
std::optional<int64_t> parse_count(std::string_view text);

/// "8GiB", "512M", "1.5G", "4096": bytes; k, M, G, T (also kB, MB) are powers of 1000, KiB, MiB, GiB, TiB of
/// 1024.
std::optional<int64_t> parse_bytes(std::string_view text);

/// "30s", "5min", "1.5h", "2d": seconds. Unset without a unit.
std::optional<double> parse_seconds(std::string_view text);

/// A finite decimal number, the whole of `text`.
std::optional<double> parse_real(std::string_view text);

/// "yes", "true", "on", "1" or "no", "false", "off", "0"; any case.
std::optional<bool> parse_bool(std::string_view text);

/// 3000000 -> "3,000,000".
std::string with_separators(int64_t value);
/// About three digits: 152340 -> "152 k", 1.2e6 -> "1.20 M".
std::string with_prefix(double value);
/// 1610612736 -> "1.5 GiB".
std::string as_bytes(int64_t size_bytes);
/// 3 s, 2 min 05 s, 1 h 20 min.
std::string as_duration(double seconds);
/// So many significant digits; in exponent form only below 1e-4 and from 1e6 on.
std::string as_figure(double value, int digits = 4);

}  // namespace branchsae::apps
