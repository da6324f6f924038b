#pragma once
/// Columns that a text takes on a terminal.
#include <cstdint>
#include <string>
#include <string_view>

namespace branchsae::apps {

/// UTF-8 aware: combining marks take no column, East Asian wide characters and emoji two. A byte that is no
/// valid UTF-8 counts as one.
int64_t display_width(std::string_view text);

/// Control characters (a file name may hold a line feed or an escape sequence) and bytes that are no valid
/// UTF-8 become '?', so that one message stays one line.
std::string printable(std::string_view text);

}  // namespace branchsae::apps
