#pragma once
/// Messages from the library. It never prints; a program that wants them sets a sink.
#include <functional>
#include <string>

namespace branchsae {

enum class LogLevel { kDebug, kInfo, kWarning };
using LogSink = std::function<void(LogLevel, const std::string& message)>;

/// Replaces the sink; an empty one discards. Thread-safe.
void set_log_sink(LogSink sink);
void log(LogLevel level, const std::string& message);

}  // namespace branchsae
