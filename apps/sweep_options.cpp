#include "apps/sweep_options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "apps/option_set.h"
#include "apps/training_options.h"
#include "engine/error.h"
#include "model/sweep.h"

namespace branchsae::apps {
namespace {

struct Axis {
  std::string key;
  std::vector<std::string> values;
};

Axis parse_axis(const std::string& word) {
  const size_t equals = word.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == word.size())
    throw InputError("takes KEY=VALUE,VALUE..., as k=4,8,16, not '" + word + "'");
  Axis axis{word.substr(0, equals), {}};
  for (size_t begin = equals + 1; begin <= word.size();) {
    const size_t end = std::min(word.find(',', begin), word.size());
    if (end == begin) throw InputError("has an empty value in '" + word + "'");
    axis.values.push_back(word.substr(begin, end - begin));
    begin = end + 1;
  }
  return axis;
}

std::vector<Axis> parse_axes(const std::vector<std::string>& texts) {
  std::vector<Axis> axes;
  for (const std::string& text : texts) {
    std::istringstream words(text);
    for (std::string word; words >> word;) {
      axes.push_back(parse_axis(word));
      const auto same = [&](const Axis& other) { return other.key == axes.back().key; };
      if (std::count_if(axes.begin(), axes.end(), same) > 1)
        throw InputError(
            fmt::format("has '{0}' twice; put its values into one list: {0}=...", axes.back().key));
    }
  }
  if (axes.empty()) throw InputError("takes KEY=VALUE,VALUE..., as k=4,8,16");
  return axes;
}

/// Reads values as the options of train do, by means of options of its own.
class ValueReader {
 public:
  ValueReader() { add_training_options(options_, train_); }

  /// {"lr":0.001} for "lr" and "1e-3".
  Json change(const std::string& key, const std::string& value) {
    sweep_change(key, train_);  // whether it may be varied at all
    try {
      options_.set_value(key, value);
    } catch (const InputError& error) {
      throw InputError(fmt::format("{}: {}", key, error.what()));
    }
    return Json::parse(sweep_change(key, train_));
  }

 private:
  CLI::App app_;
  TrainOptions train_;
  OptionSet options_{app_};
};

struct Combination {
  std::string name;
  Json changes = Json::object();
};

}  // namespace

std::vector<SweepMember> plan_sweep(const std::vector<std::string>& texts) {
  ValueReader reader;
  std::vector<Combination> combinations(1);
  for (const Axis& axis : parse_axes(texts)) {
    if (std::ssize(combinations) * std::ssize(axis.values) > kMostSweepMembers) {
      throw InputError(fmt::format("asks for more than {} combinations", kMostSweepMembers));
    }
    std::vector<Combination> longer;
    for (const Combination& so_far : combinations) {
      for (const std::string& value : axis.values) {
        Combination next = so_far;
        next.name += fmt::format("{}{}={}", next.name.empty() ? "" : ",", axis.key, value);
        next.changes.update(reader.change(axis.key, value));
        longer.push_back(std::move(next));
      }
    }
    combinations = std::move(longer);
  }
  std::vector<SweepMember> members;
  for (const Combination& one : combinations) members.push_back({one.name, one.changes.dump()});
  return members;
}

std::vector<std::string> swept_keys(const std::vector<std::string>& texts) {
  std::vector<std::string> keys;
  for (const Axis& axis : parse_axes(texts)) keys.push_back(axis.key);
  return keys;
}

}  // namespace branchsae::apps
