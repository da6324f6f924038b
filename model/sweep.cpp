#include "model/sweep.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "engine/error.h"
#include "model/json.h"

namespace branchsae {
namespace {

using model::Json;

/// The JSON field of an option; all but one have the option's own name.
std::string field_of(const std::string& key) {
  return key == "untied" ? "tied" : key;
}

void check_key(const std::string& key) {
  if (std::ranges::find(sweep_keys(), key) != sweep_keys().end()) return;
  throw InputError(fmt::format(
      "--sweep cannot vary '{}': all members train on the same tokens in the same order; it can vary {}", key,
      fmt::join(sweep_keys(), ", ")));
}

bool is_folder_name(const std::string& name) {
  const auto allowed = [](unsigned char c) {
    return std::isalnum(c) != 0 || std::string_view("._+-=,").find(static_cast<char>(c)) != std::string::npos;
  };
  return !name.empty() && name.size() < 200 && name.front() != '.' && std::ranges::all_of(name, allowed);
}

Json changes_of(const SweepMember& member) {
  const std::string where = fmt::format("sweep member '{}'", member.name);
  Json changes = model::parse_json(member.changes, where);
  if (!changes.is_object() || changes.empty())
    throw InputError(where + " changes nothing: give it an option of its own");
  return changes;
}

}  // namespace

const std::vector<std::string>& sweep_keys() {
  static const std::vector<std::string> keys{"k",          "expansion",    "lr",     "warmup",
                                             "auxk",       "aux-alpha",    "untied", "lr-schedule",
                                             "dead-after", "decoder-norm", "centre", "start-norm"};
  return keys;
}

std::string sweep_change(const std::string& key, const TrainOptions& set) {
  check_key(key);
  const Json all = Json::parse(to_json(set));
  return Json{{field_of(key), all.at(field_of(key))}}.dump();
}

TrainOptions member_options(const TrainOptions& sweep, const SweepMember& member) {
  TrainOptions shared = sweep;
  shared.sweep.clear();
  Json json = Json::parse(to_json(shared));
  json.update(changes_of(member));
  TrainOptions options = train_options_from_json(json.dump(), fmt::format("sweep member '{}'", member.name));
  options.out = sweep.out / "sweep" / member.name;
  options.resume = sweep.resume;
  return options;
}

void note_changes(const SweepMember& member, std::map<std::string, std::string>& command_line) {
  const Json changes = changes_of(member);
  for (const auto& [field, value] : changes.items()) {
    if (field == "tied") {
      command_line["untied"] = value.get<bool>() ? "false" : "true";
    } else {
      command_line[field] = value.is_string() ? value.get<std::string>() : value.dump();
    }
  }
  command_line.erase("sweep");
}

void check_sweep(const TrainOptions& options) {
  if (std::ssize(options.sweep) > kMostSweepMembers) {
    throw InputError(fmt::format("--sweep asks for {} combinations; at most {} train together",
                                 options.sweep.size(), kMostSweepMembers));
  }
  std::map<std::string, std::string> names, contents;  // -> who has it
  for (const SweepMember& member : options.sweep) {
    if (!is_folder_name(member.name))
      throw InputError(fmt::format("'{}' cannot be the name of a sweep's member", member.name));
    const Json changes = changes_of(member);
    for (const auto& [field, value] : changes.items()) check_key(field == "tied" ? "untied" : field);
    const TrainOptions own = member_options(options, member);
    const auto [same, is_new] = contents.try_emplace(to_json(own), member.name);
    if (!names.try_emplace(member.name).second || !is_new) {
      throw InputError(fmt::format("--sweep has the same combination twice: {}{}", member.name,
                                   same->second == member.name ? "" : " and " + same->second));
    }
    try {
      check_options(own);
    } catch (const InputError& error) {
      throw InputError(fmt::format("sweep member {}: {}", member.name, error.what()));
    }
  }
}

}  // namespace branchsae
