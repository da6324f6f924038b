#pragma once
/// "Did you mean ...?"
#include <string>
#include <string_view>
#include <vector>

namespace branchsae::apps {

/// The candidate nearest to `word` by edits (insert, delete, replace, swap neighbours), or empty when none is
/// within a third of the word's length.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

/// "; did you mean 'train'?" or "".
std::string suggestion(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace branchsae::apps
