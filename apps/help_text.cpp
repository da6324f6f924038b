#include "apps/help_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "apps/text_width.h"

namespace branchsae::apps {
namespace {

constexpr int64_t kWidth = 100, kNameColumn = 30;

constexpr const char* kAbout =
    "branchsae opens up InceptionV1: it runs the network from its ONNX file, captures what each branch\n"
    "of each inception block computes, and trains k-sparse autoencoders on it.";
constexpr const char* kFooter =
    "branchsae COMMAND --help explains a command, branchsae --version names this build.\n"
    "Every option can also be given as an environment variable, --max-memory as BRANCHSAE_MAX_MEMORY, or\n"
    "in the file that --config names. A flag goes before the environment, the environment before the file.";

/// Lines that begin with a space are kept, the others are joined to paragraphs and wrapped anew.
std::string filled(const std::string& text) {
  std::istringstream lines(text);
  std::string result, paragraph;
  const auto flush = [&] {
    if (!paragraph.empty()) result += wrapped(paragraph, kWidth, 0) + "\n";
    paragraph.clear();
  };
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line.front() == ' ') {
      flush();
      result += line + "\n";
    } else {
      paragraph += line + " ";
    }
  }
  flush();
  return result;
}

/// "  NAME            text", the text wrapped in its own column.
std::string entry(const std::string& name, const std::string& text) {
  const int64_t width = display_width(name) + 2;
  std::string line = fmt::format("  {}", name);
  if (width + 2 > kNameColumn) {
    line += '\n';
    line.append(kNameColumn, ' ');
  } else {
    line.append(static_cast<size_t>(kNameColumn - width), ' ');
  }
  return line + wrapped(text, kWidth - kNameColumn, kNameColumn) + "\n";
}

std::string option_entry(const OptionSet::Described& option) {
  const size_t comma = option.name.find(',');  // "-v,--verbose"
  std::string name = option.name;
  if (comma != std::string::npos) name = fmt::format("{}, {}", name.substr(0, comma), name.substr(comma + 1));
  if (!option.type.empty()) name += " " + option.type;
  const bool has_default = !option.shown_default.empty();
  return entry(name, has_default ? fmt::format("{} [{}]", option.help, option.shown_default) : option.help);
}

}  // namespace

std::string wrapped(const std::string& text, int64_t width, int64_t indent) {
  std::istringstream words(text);
  std::string result;
  int64_t used = 0;
  for (std::string word; words >> word;) {
    const int64_t length = display_width(word);
    if (used > 0 && used + 1 + length > width) {
      result += '\n';
      result.append(static_cast<size_t>(indent), ' ');
      used = 0;
    }
    if (used > 0) {
      result += ' ';
      ++used;
    }
    result += word;
    used += length;
  }
  return result;
}

std::string command_help(const CommandText& text, const OptionSet& options) {
  std::string help =
      fmt::format("Usage: branchsae {} {} [options]\n\n{}", text.name, text.usage, filled(text.about));
  std::string group;
  for (const OptionSet::Described& option : options.described()) {
    if (option.group != group) help += fmt::format("\n{}:\n", option.group);
    group = option.group;
    help += option_entry(option);
  }
  help += entry("-h, --help", "this text");
  return fmt::format("{}\nExamples:\n{}\n", help, text.examples);
}

std::string program_help(const std::vector<std::pair<std::string, std::string>>& commands) {
  std::string help =
      fmt::format("Usage: branchsae COMMAND [arguments] [options]\n\n{}\n\nCommands:\n", kAbout);
  size_t longest = 0;
  for (const auto& [name, summary] : commands) longest = std::max(longest, name.size());
  for (const auto& [name, summary] : commands) help += fmt::format("  {:<{}}  {}\n", name, longest, summary);
  return fmt::format("{}\n{}\n", help, kFooter);
}

}  // namespace branchsae::apps
