#pragma once
/// What the program says on stderr. Results never go here; see output.h.
#include <string>

namespace branchsae::apps {

enum class Verbosity { kQuiet, kNormal, kVerbose };

/// Sets up stderr and takes the library's log() messages. Call once, before anything else here.
void start_messages();
void set_verbosity(Verbosity verbosity);
Verbosity verbosity();

/// "branchsae: TEXT". Held back until the first progress line or the command's success, so that a command
/// which fails on its input says one line only; dropped with -q. With -v it is written at once.
void info(const std::string& text);
/// "branchsae: warning: TEXT", at once.
void warning(const std::string& text);
/// "branchsae: error: TEXT"; with -v the detail follows, indented.
void error(const std::string& text, const std::string& detail = "");
/// Writes what was held back; from here on nothing is.
void release_info();

/// stderr is a terminal that understands a carriage return.
bool stderr_is_terminal();
/// The one line that is redrawn below the messages (terminals only); "" removes it.
void set_status_line(const std::string& text);

}  // namespace branchsae::apps
