#include "apps/signals.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>

namespace branchsae::apps {
namespace {

std::atomic<int> received{0};
static_assert(std::atomic<int>::is_always_lock_free);  // else a handler must not touch it

void handle(int number) {
  int none = 0;
  if (!received.compare_exchange_strong(none, number)) ::_exit(128 + number);
}

void install(int number, bool even_if_ignored) {
  struct sigaction before {};
  ::sigaction(number, nullptr, &before);
  if (before.sa_handler == SIG_IGN && !even_if_ignored) return;
  struct sigaction action {};
  action.sa_handler = handle;
  action.sa_flags = SA_RESTART;
  ::sigemptyset(&action.sa_mask);
  ::sigaction(number, &action, nullptr);
}

}  // namespace

void install_signal_handlers() {
  // A shell script starts `command &` with SIGINT ignored; `kill -INT` on it is still meant to stop the run.
  install(SIGINT, true);
  install(SIGTERM, true);
  install(SIGHUP, false);  // nohup asks to ignore it
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);
}

int stop_signal() {
  return received.load();
}

void check_stop() {
  if (const int number = stop_signal()) throw Interrupted(number);
}

void guard_standard_streams() {
  for (int descriptor = 0; descriptor <= 2; ++descriptor) {
    if (::fcntl(descriptor, F_GETFD) != -1) continue;
    // open() takes the lowest free number, which is this one. Read-only for 1 and 2: writing still fails.
    const int opened = ::open("/dev/null", O_RDONLY);
    if (opened > 2) ::close(opened);
  }
}

}  // namespace branchsae::apps
