#pragma once
/// From what a user types as IMAGES to the paths it means.
#include <string>
#include <vector>

namespace branchsae::loader {

/// Splits at commas outside braces and expands {a,b} and {000..003} (padded with zeros where either end is).
/// A spec, or part of one, that exists as a path is taken as it is. Throws InputError: unbalanced or absurd
/// braces, an empty part, a path that does not exist (names the nearest one that does).
std::vector<std::string> expand_spec(const std::string& spec);

enum class SpecKind { kFolder, kTar, kArray, kTextList, kImage };

/// By content, then by name. Throws InputError when it is nothing that holds images.
SpecKind kind_of(const std::string& path);

}  // namespace branchsae::loader
