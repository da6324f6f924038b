#include "apps/application.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <filesystem>
#include <new>

#include "apps/argument_list.h"
#include "apps/config_file.h"
#include "apps/messages.h"
#include "apps/signals.h"
#include "apps/spelling.h"
#include "apps/version.h"
#include "engine/error.h"

namespace branchsae::apps {
namespace {

/// Turns what is being thrown into one line and an exit code.
int report_current_exception() {
  try {
    throw;
  } catch (const Interrupted& interrupted) {
    set_status_line("");
    info("stopped by signal " + std::to_string(interrupted.signal));
    release_info();
    return 128 + interrupted.signal;
  } catch (const Error& failure) {
    error(failure.what(), failure.detail());
    return failure.exit_code();
  } catch (const CLI::Error& failure) {
    error(failure.what());
    return 2;
  } catch (const std::bad_alloc&) {
    error("out of memory; use a smaller --batch or --max-memory, or close other programs");
    return 1;
  } catch (const std::filesystem::filesystem_error& failure) {
    error(failure.what());
    return 1;
  } catch (const std::exception& failure) {
    error(std::string("internal error: ") + failure.what());
    return 1;
  }
}

}  // namespace

Application::Application() : app_(std::make_unique<CLI::App>("", "branchsae")) {
  app_->require_subcommand(0, 1);  // else a folder of images called "train" would be taken for the command
}

Application::~Application() = default;

OptionSet& Application::add_command(const CommandText& text, Run run) {
  CLI::App* sub = app_->add_subcommand(text.name);
  sub->allow_extras();
  commands_.push_back(std::unique_ptr<Command>(new Command{text, sub, OptionSet(*sub), std::move(run)}));
  return commands_.back()->options;
}

Application::Command& Application::find_command(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& command : commands_) {
    if (command->text.name == name) return *command;
    names.push_back(command->text.name);
  }
  if (!name.empty() && name.front() == '-') {
    throw InputError("options come after the command: branchsae COMMAND " + name);
  }
  throw InputError("unknown command '" + name + "'" + suggestion(name, names) +
                   " (branchsae --help lists the commands)");
}

void Application::parse(Command& command, const std::vector<std::string>& words) {
  std::vector<std::string> reversed = expand_lists(words, command.options);
  std::reverse(reversed.begin(), reversed.end());
  reversed.push_back(command.text.name);
  try {
    app_->parse(std::move(reversed));
  } catch (const CLI::ArgumentMismatch& mismatch) {  // its text begins with the option's name and a colon
    const std::string text = mismatch.what();
    throw InputError(fmt::format("{} needs a value (see branchsae {} --help)", text.substr(0, text.find(':')),
                                 command.text.name));
  }
  const std::vector<std::string> left = command.app->remaining();
  if (left.empty()) return;
  const auto flag =
      std::find_if(left.begin(), left.end(), [](const auto& word) { return word.front() == '-'; });
  if (flag != left.end()) {
    const std::string name = flag->substr(0, flag->find('='));
    throw InputError(fmt::format("{} has no option {}{} (branchsae {} --help lists them)", command.text.name,
                                 name, suggestion(name, command.options.names()), command.text.name));
  }
  throw InputError(fmt::format("{}: unexpected argument '{}' (see branchsae {} --help)", command.text.name,
                               left.front(), command.text.name));
}

void Application::read_options(Command& command) {
  command.options.resolve_early("config");
  if (common_.config.empty()) {
    command.options.resolve(nullptr);
  } else {
    std::vector<std::pair<std::string, const OptionSet*>> all;
    for (const auto& other : commands_) all.emplace_back(other->text.name, &other->options);
    const ConfigValues config = read_config(common_.config, command.text.name, all);
    command.options.resolve(&config);
  }
  set_verbosity(common_.quiet     ? Verbosity::kQuiet
                : common_.verbose ? Verbosity::kVerbose
                                  : Verbosity::kNormal);
}

void Application::dispatch(std::vector<std::string> words) {
  for (auto& command : commands_) add_common_options(command->options, common_);
  if (words.empty()) throw InputError("no command given (branchsae --help lists the commands)");
  if (words.front() == "help") {
    words.erase(words.begin());
    words.push_back("--help");
  }
  if (words.front() == "--version") return write_stdout(version_text());
  if (words.front() == "--help" || words.front() == "-h") {
    std::vector<std::pair<std::string, std::string>> list;
    for (const auto& command : commands_) list.emplace_back(command->text.name, command->text.summary);
    return write_stdout(program_help(list));
  }
  Command& command = find_command(words.front());
  words.erase(words.begin());
  try {
    parse(command, words);
  } catch (const CLI::CallForHelp&) {
    return write_stdout(command_help(command.text, command.options));
  }
  read_options(command);
  Output out;
  command.run(Context{common_, command.options, out});
  release_info();
  out.write(common_.json);
}

int Application::run(int argc, const char* const* argv) {
  guard_standard_streams();
  install_signal_handlers();
  start_messages();
  try {
    dispatch(std::vector<std::string>(argv + 1, argv + std::max(argc, 1)));
    return 0;
  } catch (...) {
    return report_current_exception();
  }
}

}  // namespace branchsae::apps
