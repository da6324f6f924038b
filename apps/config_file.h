#pragma once
/// The file of --config: TOML, keys are option names; a [section] holds what is for one command only.
#include <filesystem>
#include <string>
#include <vector>

#include "apps/option_set.h"

namespace branchsae::apps {

/// Values for `command`: the file's top level, overridden by the section of that name. A key that no command
/// has, or that its section's command has not, is an InputError. `commands`: every command and its options.
ConfigValues read_config(const std::filesystem::path& path, const std::string& command,
                         const std::vector<std::pair<std::string, const OptionSet*>>& commands);

}  // namespace branchsae::apps
