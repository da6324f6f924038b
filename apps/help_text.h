#pragma once
/// The texts of --help.
#include <string>
#include <utility>
#include <vector>

#include "apps/option_set.h"

namespace branchsae::apps {

struct CommandText {
  std::string name;
  std::string usage;     ///< arguments, as in "MODEL IMAGES..."
  std::string summary;   ///< one line in the list of commands
  std::string about;     ///< paragraphs of the command's own help
  std::string examples;  ///< lines that work as they stand
};

std::string command_help(const CommandText& text, const OptionSet& options);

/// commands: name and summary.
std::string program_help(const std::vector<std::pair<std::string, std::string>>& commands);

/// Breaks at spaces so that no line is longer than `width`; lines after the first are indented.
std::string wrapped(const std::string& text, int64_t width, int64_t indent);

}  // namespace branchsae::apps
