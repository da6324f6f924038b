#include "apps/option_set.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdlib>

#include "apps/numbers.h"
#include "engine/error.h"

namespace branchsae::apps {
namespace {

std::string environment_name(const std::string& key) {
  std::string name = "BRANCHSAE_";
  for (const char c : key)
    name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return name;
}

std::vector<std::string> split_commas(const std::vector<std::string>& values) {
  std::vector<std::string> parts;
  for (const std::string& value : values) {
    size_t begin = 0;
    while (begin <= value.size()) {
      const size_t end = std::min(value.find(',', begin), value.size());
      if (end == begin) throw InputError("has an empty entry in '" + value + "'");
      parts.push_back(value.substr(begin, end - begin));
      begin = end + 1;
    }
  }
  return parts;
}

/// A default as people would write it: 20000000 as 20M.
std::string short_count(int64_t value) {
  if (value != 0 && value % 1'000'000 == 0) return fmt::format("{}M", value / 1'000'000);
  return std::to_string(value);
}

int64_t checked_count(const std::string& text, int64_t least, int64_t most) {
  const auto value = parse_count(text);
  if (value && *value >= least && *value <= most) return *value;
  throw InputError(most == INT64_MAX
                       ? fmt::format("must be a whole number of at least {}, not '{}'", least, text)
                       : fmt::format("must be a whole number from {} to {}, not '{}'", least, most, text));
}

}  // namespace

std::string OptionSet::key(const std::string& name) {
  const size_t comma = name.rfind(',');  // "-v,--verbose"
  const size_t begin = name.find_first_not_of('-', comma == std::string::npos ? 0 : comma + 1);
  return name.substr(begin);
}

void OptionSet::custom(Entry entry) {
  const bool positional = entry.name.front() != '-';
  if (positional) ++positional_count_;
  CLI::Option* parsed = app_->add_option(
      entry.name, [](const CLI::results_t&) { return true; }, entry.help);
  // One value a flag, which may be repeated; a list's further words are given flags of their own before
  // parsing (argument_list.h). Positional lists take all that is left.
  if (positional && entry.many) {
    parsed->expected(1, 1 << 20)->allow_extra_args();
  } else {
    parsed->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  }
  options_.push_back({std::move(entry), parsed, positional ? "Arguments" : group_, Source::kDefault});
}

void OptionSet::positional(const std::string& name, std::string& target, const std::string& help) {
  custom({name, "", help, "", [&target](const auto& values) { target = values.back(); },
          [&target] { return Json(target); }, false});
}

void OptionSet::positionals(const std::string& name, std::vector<std::string>& target,
                            const std::string& help) {
  custom({name, "", help, "", [&target](const auto& values) { target = values; },
          [&target] { return Json(target); }, true});
}

void OptionSet::flag(const std::string& name, bool& target, const std::string& help) {
  custom_flag(
      name, help, [&target](bool on) { target = on; }, [&target] { return Json(target); });
}

void OptionSet::custom_flag(const std::string& name, const std::string& help, std::function<void(bool)> set,
                            std::function<Json()> get) {
  Entry entry{name, "", help, "", {}, std::move(get), false};
  entry.set = [set](const std::vector<std::string>& values) {
    const auto value = parse_bool(values.back());
    if (!value) throw InputError("is a switch: yes or no, not '" + values.back() + "'");
    set(*value);
  };
  CLI::Option* parsed = app_->add_flag(name, help);
  options_.push_back({std::move(entry), parsed, group_, Source::kDefault});
}

void OptionSet::text(const std::string& name, std::string& target, const std::string& type,
                     const std::string& help) {
  Entry entry{name, type, help, target, {}, [&target] { return Json(target); }, false};
  entry.set = [&target](const std::vector<std::string>& values) {
    if (values.back().empty()) throw InputError("must not be empty");
    target = values.back();
  };
  custom(std::move(entry));
}

void OptionSet::choice(const std::string& name, std::string& target, std::vector<std::string> words,
                       const std::string& help) {
  Entry entry{name, fmt::format("{}", fmt::join(words, "|")), help, target,
              {},   [&target] { return Json(target); },       false};
  entry.set = [&target, words](const std::vector<std::string>& values) {
    if (std::find(words.begin(), words.end(), values.back()) == words.end()) {
      throw InputError(fmt::format("must be one of {}, not '{}'", fmt::join(words, ", "), values.back()));
    }
    target = values.back();
  };
  custom(std::move(entry));
}

void OptionSet::list(const std::string& name, std::vector<std::string>& target, const std::string& type,
                     const std::string& help) {
  custom({name, type, help, "", [&target](const auto& values) { target = split_commas(values); },
          [&target] { return Json(target); }, true});
}

void OptionSet::count(const std::string& name, int64_t& target, int64_t least, int64_t most,
                      const std::string& help) {
  Entry entry{name, "N", help, short_count(target), {}, [&target] { return Json(target); }, false};
  entry.set = [&target, least, most](const auto& values) {
    target = checked_count(values.back(), least, most);
  };
  custom(std::move(entry));
}

void OptionSet::counts(const std::string& name, std::vector<int64_t>& target, int64_t least, int64_t most,
                       const std::string& help) {
  Entry entry{name, "N,N,...",
              help, fmt::format("{}", fmt::join(target, ",")),
              {},   [&target] { return Json(target); },
              true};
  entry.set = [&target, least, most](const std::vector<std::string>& values) {
    target.clear();
    for (const std::string& part : split_commas(values)) target.push_back(checked_count(part, least, most));
  };
  custom(std::move(entry));
}

void OptionSet::real(const std::string& name, double& target, double least, double most,
                     const std::string& help) {
  Entry entry{name, "X", help, fmt::format("{:g}", target), {}, [&target] { return Json(target); }, false};
  entry.set = [&target, least, most](const std::vector<std::string>& values) {
    const auto value = parse_real(values.back());
    if (!value || *value < least || *value > most) {
      throw InputError(
          fmt::format("must be a number from {:g} to {:g}, not '{}'", least, most, values.back()));
    }
    target = *value;
  };
  custom(std::move(entry));
}

void OptionSet::bytes(const std::string& name, int64_t& target, const std::string& help) {
  Entry entry{name, "SIZE", help, "", {}, [&target] { return Json(target); }, false};
  entry.set = [&target](const std::vector<std::string>& values) {
    const auto value = parse_bytes(values.back());
    if (!value || *value < 1)
      throw InputError("must be a size such as 512MiB or 8G, not '" + values.back() + "'");
    target = *value;
  };
  custom(std::move(entry));
}

void OptionSet::apply(Option& option, const ConfigValues* config) {
  const std::string name = key(option.entry.name);
  std::vector<std::string> values;
  std::string said = "--" + name;
  if (option.parsed->count() > 0) {
    values = option.parsed->results();
    option.source = Source::kFlag;
    if (option.entry.name.front() != '-') said = name;
  } else if (option.entry.name.front() != '-') {
    return;  // positionals come from the command line only
  } else if (const char* set = std::getenv(environment_name(name).c_str()); set != nullptr && *set != '\0') {
    values = {set};
    option.source = Source::kEnvironment;
    said += " (from " + environment_name(name) + ")";
  } else if (config != nullptr && config->contains(name)) {
    values = config->at(name);
    option.source = Source::kConfig;
    said += " (from the configuration file)";
  }
  if (values.empty()) return;
  try {
    option.entry.set(values);
  } catch (const InputError& error) {
    throw InputError(said + " " + error.what(), error.detail());
  }
}

void OptionSet::resolve(const ConfigValues* config) {
  for (Option& option : options_) apply(option, config);
}

void OptionSet::set_value(const std::string& name, const std::string& value) const {
  for (const Option& option : options_) {
    if (key(option.entry.name) == name) return option.entry.set({value});
  }
  throw InputError("is no option");
}

void OptionSet::resolve_early(const std::string& name) {
  for (Option& option : options_) {
    if (key(option.entry.name) == name) apply(option, nullptr);
  }
}

OptionSet::Source OptionSet::source(const std::string& name) const {
  for (const Option& option : options_) {
    if (key(option.entry.name) == name) return option.source;
  }
  return Source::kDefault;
}

bool OptionSet::has(const std::string& name) const {
  return std::any_of(options_.begin(), options_.end(), [&](const Option& option) {
    return option.entry.name.front() == '-' && key(option.entry.name) == name;
  });
}

std::vector<OptionSet::Described> OptionSet::described() const {
  std::vector<Described> all;
  for (const Option& option : options_) {
    const Entry& entry = option.entry;
    all.push_back({option.group, entry.name, entry.type, entry.help, entry.shown_default});
  }
  return all;
}

Json OptionSet::resolved() const {
  Json values = Json::object();
  for (const Option& option : options_) values[key(option.entry.name)] = option.entry.get();
  return values;
}

std::vector<std::string> OptionSet::names() const {
  std::vector<std::string> all = {"--help"};
  for (const Option& option : options_) {
    if (option.entry.name.front() == '-') all.push_back("--" + key(option.entry.name));
  }
  return all;
}

std::vector<std::string> OptionSet::list_names() const {
  std::vector<std::string> all;
  for (const Option& option : options_) {
    if (option.entry.name.front() == '-' && option.entry.many) all.push_back("--" + key(option.entry.name));
  }
  return all;
}

bool OptionSet::takes_value(const std::string& flag) const {
  const CLI::Option* option = app_->get_option_no_throw(flag);
  return option != nullptr && option->get_items_expected_max() > 0;
}

}  // namespace branchsae::apps
