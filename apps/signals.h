#pragma once
/// SIGINT, SIGTERM, SIGHUP: the first asks the work to stop in good order, the second ends the process.
#include <exception>

namespace branchsae::apps {

/// Thrown between steps of work that has nothing to save; the process exits 128 + signal.
struct Interrupted : std::exception {
  explicit Interrupted(int number) : signal(number) {}
  const char* what() const noexcept override { return "interrupted"; }
  int signal;
};

/// Handlers for the three signals. SIGPIPE and SIGXFSZ are ignored, so that a closed stdout and a file that
/// outgrows its limit are errors of write().
void install_signal_handlers();
/// The first signal received, 0 for none.
int stop_signal();
/// Throws Interrupted when a signal came.
void check_stop();
/// Gives closed descriptors 0, 1 and 2 to /dev/null, so that no file opened later is taken for stdout or
/// stderr. What was closed stays unwritable.
void guard_standard_streams();

}  // namespace branchsae::apps
