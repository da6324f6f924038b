#pragma once
/// Runs the program as a user would: arguments, environment, working folder; stdout, stderr, exit code.
#include <sys/types.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace branchsae::test {

struct ProcessResult {
  int code = -1;   ///< exit code; -1 when a signal ended it
  int signal = 0;  ///< which
  std::string out, err;

  /// Lines of stderr that begin with "branchsae: error:".
  std::vector<std::string> error_lines() const;
  /// All lines of stderr.
  std::vector<std::string> err_lines() const;
};

struct ProcessOptions {
  std::map<std::string, std::string> environment = {};  ///< added to ours
  std::filesystem::path folder = {};                    ///< working folder; empty: ours
  /// Where stdout goes: empty: a pipe that is read; "closed": closed; "broken": a pipe that nobody reads;
  /// else this file.
  std::string out = {};
  int64_t largest_file = 0;  ///< bytes; writing more fails, as on a full disk. 0: no limit
  /// A signal is sent when this text has appeared on stderr, or this file exists. A name that ends in *
  /// stands for all that begin so.
  std::string signal_when = {};
  std::filesystem::path signal_when_file = {};
  int signal = 0;
  int signals = 1;  ///< how often it is sent
};

/// The program `branchsae` of this build. A process that has not ended after ten minutes is killed, and
/// counts as ended by that signal.
ProcessResult run_program(const std::vector<std::string>& arguments, const ProcessOptions& options = {});

}  // namespace branchsae::test
