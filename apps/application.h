#pragma once
/// The program: its commands, the command line, and what becomes of errors.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "apps/common_options.h"
#include "apps/help_text.h"
#include "apps/option_set.h"
#include "apps/output.h"

namespace branchsae::apps {

/// What a running command is given.
struct Context {
  const CommonOptions& common;
  const OptionSet& options;
  Output& out;
};

class Application {
 public:
  Application();
  ~Application();

  using Run = std::function<void(const Context&)>;
  /// The common options are added when the program runs, after the command's own.
  OptionSet& add_command(const CommandText& text, Run run);

  /// The process's exit code: 0 done, 1 failed at run time, 2 wrong usage or bad input, 128 + n by signal.
  int run(int argc, const char* const* argv);

 private:
  struct Command {
    CommandText text;
    CLI::App* app;
    OptionSet options;
    Run run;
  };
  void dispatch(std::vector<std::string> words);
  Command& find_command(const std::string& name);
  void parse(Command& command, const std::vector<std::string>& words);
  void read_options(Command& command);

  std::unique_ptr<CLI::App> app_;
  CommonOptions common_;
  std::vector<std::unique_ptr<Command>> commands_;
};

}  // namespace branchsae::apps
