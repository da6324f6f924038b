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

constexpr const char* kAbout =
    "branchsae opens up InceptionV1: it runs the network from its ONNX file, captures what each branch of\n"
    "each inception block computes, and trains k-sparse autoencoders on it.";
constexpr const char* kFooter =
    "branchsae COMMAND --help explains a command, branchsae --version names this build.\n"
    "Every option can also be given as the environment variable BRANCHSAE_<OPTION> (--max-memory as\n"
    "BRANCHSAE_MAX_MEMORY) or in a file named by --config; a flag goes before the environment, that before\n"
    "the file.";

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

Application::Application() : app_(std::make_unique<CLI::App>(kAbout, "branchsae")) {
  app_->footer(kFooter);
  app_->require_subcommand(0, 1);  // else a folder of images called "train" would be taken for the command
  app_->get_formatter()->column_width(34);
  app_->get_formatter()->label("Positionals", "Arguments");
}

Application::~Application() = default;

OptionSet& Application::add_command(const CommandText& text, Run run) {
  CLI::App* sub = app_->add_subcommand(text.name, text.summary);
  sub->group("Commands")->allow_extras();
  sub->footer("Examples:\n" + text.examples);
  sub->description(text.about.empty() ? text.summary : text.about);
  commands_.push_back(std::unique_ptr<Command>(new Command{text.name, sub, OptionSet(*sub), std::move(run)}));
  return commands_.back()->options;
}

Application::Command& Application::find_command(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& command : commands_) {
    if (command->name == name) return *command;
    names.push_back(command->name);
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
  reversed.push_back(command.name);
  app_->parse(std::move(reversed));
  const std::vector<std::string> left = command.app->remaining();
  if (left.empty()) return;
  const auto flag =
      std::find_if(left.begin(), left.end(), [](const auto& word) { return word.front() == '-'; });
  if (flag != left.end()) {
    const std::string name = flag->substr(0, flag->find('='));
    throw InputError(fmt::format("{} has no option {}{} (branchsae {} --help lists them)", command.name, name,
                                 suggestion(name, command.options.names()), command.name));
  }
  throw InputError(fmt::format("{}: unexpected argument '{}' (see branchsae {} --help)", command.name,
                               left.front(), command.name));
}

void Application::read_options(Command& command) {
  command.options.resolve_early("config");
  if (common_.config.empty()) {
    command.options.resolve(nullptr);
  } else {
    std::vector<std::pair<std::string, const OptionSet*>> all;
    for (const auto& other : commands_) all.emplace_back(other->name, &other->options);
    const ConfigValues config = read_config(common_.config, command.name, all);
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
  if (words.front() == "--help" || words.front() == "-h") return write_stdout(app_->help());
  Command& command = find_command(words.front());
  words.erase(words.begin());
  try {
    parse(command, words);
  } catch (const CLI::CallForHelp&) {
    return write_stdout(command.app->help("branchsae"));
  }
  read_options(command);
  Output out;
  command.run(Context{common_, command.options, out});
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
