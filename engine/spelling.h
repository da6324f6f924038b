#pragma once
/// "Did you mean": names close to one that does not exist.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace branchsae {

/// Levenshtein distance, in bytes.
int64_t edit_distance(std::string_view a, std::string_view b);

/// The `count` names nearest to `name`, nearest first; equally near ones keep their order.
std::vector<std::string> nearest_names(std::vector<std::string> names, std::string_view name, size_t count);

}  // namespace branchsae
