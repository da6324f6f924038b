#pragma once
/// Rewrites the words of a command line into a form with one meaning.
#include <string>
#include <vector>

#include "apps/option_set.h"

namespace branchsae::apps {

/// "--tap a b c" becomes "--tap a --tap b --tap c", for every list option. Words after a list's first value
/// are left to the command's arguments as far as these would otherwise be missing, from the end: in
/// "capture --tap a b MODEL IMAGES" the list is a, b.
std::vector<std::string> expand_lists(const std::vector<std::string>& words, const OptionSet& options);

}  // namespace branchsae::apps
