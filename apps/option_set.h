#pragma once
/// The options of one command. CLI11 splits the command line; values come from the flag, else the environment
/// variable BRANCHSAE_<OPTION>, else the configuration file, else the default, and are checked here so that
/// every source gives the same one-line message.
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "apps/output.h"

namespace CLI {  // its header takes seconds to compile: only option_set.cpp and its like include it
class App;
class Option;
}  // namespace CLI

namespace branchsae::apps {

/// Values by option name without dashes ("tokens").
using ConfigValues = std::map<std::string, std::vector<std::string>>;

class OptionSet {
 public:
  explicit OptionSet(CLI::App& app) : app_(&app) {}

  /// Options added from here on are listed under this title.
  void group(std::string title) { group_ = std::move(title); }

  /// Unset stays empty; the command says what is missing.
  void positional(const std::string& name, std::string& target, const std::string& help);
  void positionals(const std::string& name, std::vector<std::string>& target, const std::string& help);
  void flag(const std::string& name, bool& target, const std::string& help);
  void custom_flag(const std::string& name, const std::string& help, std::function<void(bool)> set,
                   std::function<Json()> get);
  void text(const std::string& name, std::string& target, const std::string& type, const std::string& help);
  /// One of a few words.
  void choice(const std::string& name, std::string& target, std::vector<std::string> words,
              const std::string& help);
  /// Repeated, comma separated, or several words after one flag.
  void list(const std::string& name, std::vector<std::string>& target, const std::string& type,
            const std::string& help);
  /// A whole number in least..most; k, M, G allowed.
  void count(const std::string& name, int64_t& target, int64_t least, int64_t most, const std::string& help);
  void counts(const std::string& name, std::vector<int64_t>& target, int64_t least, int64_t most,
              const std::string& help);
  void real(const std::string& name, double& target, double least, double most, const std::string& help);
  void bytes(const std::string& name, int64_t& target, const std::string& help);

  struct Entry {
    std::string name, type, help, shown_default;
    /// Takes the values; throws InputError whose text follows "--name".
    std::function<void(const std::vector<std::string>&)> set;
    std::function<Json()> get;
    bool many = false;  ///< keeps all values, not only the last
  };
  /// What the others are made of.
  void custom(Entry entry);

  /// Gives every option its value. `config` may be null. Throws InputError naming option and source.
  void resolve(const ConfigValues* config);
  /// Gives one option a value, as if it had been on the command line. Throws InputError whose text follows
  /// the option's name.
  void set_value(const std::string& name, const std::string& value) const;
  /// One option alone, from flag or environment: --config itself has to be known first.
  void resolve_early(const std::string& name);

  enum class Source { kDefault, kConfig, kEnvironment, kFlag };
  Source source(const std::string& name) const;
  bool given(const std::string& name) const { return source(name) != Source::kDefault; }
  bool has(const std::string& name) const;
  struct Described {
    std::string group, name, type, help, shown_default;
  };
  /// In the order they were added; arguments have the group "Arguments".
  std::vector<Described> described() const;
  /// Every option with its value.
  Json resolved() const;
  /// With dashes, for suggestions.
  std::vector<std::string> names() const;
  /// Names of options that keep several values, with dashes.
  std::vector<std::string> list_names() const;
  size_t positional_count() const { return positional_count_; }
  /// Whether `flag` ("--k", "-v") is followed by a value.
  bool takes_value(const std::string& flag) const;
  CLI::App& app() { return *app_; }

 private:
  struct Option {
    Entry entry;
    CLI::Option* parsed = nullptr;
    std::string group = {};
    Source source = Source::kDefault;
  };
  void apply(Option& option, const ConfigValues* config);
  static std::string key(const std::string& name);

  CLI::App* app_;
  std::string group_ = "Options";
  std::vector<Option> options_;
  size_t positional_count_ = 0;
};

}  // namespace branchsae::apps
