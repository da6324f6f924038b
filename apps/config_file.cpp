#include "apps/config_file.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <sstream>

#include "apps/spelling.h"
#include "engine/error.h"
#include "engine/files.h"

namespace branchsae::apps {
namespace {

constexpr int64_t kMostBytes = 1 << 20;

std::vector<CLI::ConfigItem> parse(const std::filesystem::path& path) {
  std::istringstream stream(read_file(path, kMostBytes));
  try {
    return CLI::ConfigTOML().from_config(stream);
  } catch (const CLI::Error& error) {
    throw InputError("configuration file " + path.string() + ": " + error.what());
  }
}

std::string option_key(std::string name) {
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

}  // namespace

ConfigValues read_config(const std::filesystem::path& path, const std::string& command,
                         const std::vector<std::pair<std::string, const OptionSet*>>& commands) {
  ConfigValues everywhere, here;
  for (const CLI::ConfigItem& item : parse(path)) {
    if (item.name == "++" || item.name == "--")
      continue;  // CLI11's marks for where a section begins and ends
    const std::string section = item.parents.empty() ? "" : item.parents.front();
    const std::string name = option_key(item.name);
    bool known_section = section.empty(), known = false;
    std::vector<std::string> names;
    for (const auto& [its_name, options] : commands) {
      if (!section.empty() && its_name != section) continue;
      known_section = true;
      known = known || options->has(name);
      for (const std::string& other : options->names()) names.push_back(other.substr(2));
    }
    const std::string where = "configuration file " + path.string() + ": ";
    if (!known_section) throw InputError(where + "[" + section + "] is no command");
    if (!known) throw InputError(where + "no option is called '" + name + "'" + suggestion(name, names));
    if (section.empty()) everywhere[name] = item.inputs;
    if (section == command) here[name] = item.inputs;
  }
  here.merge(everywhere);  // keeps what the command's own section says
  return here;
}

}  // namespace branchsae::apps
