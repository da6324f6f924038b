#include <unistd.h>

#include <cstdlib>

#include "apps/application.h"
#include "apps/commands/commands.h"

namespace {

/// OpenMP's threads spin at a barrier by default: with decode threads, or anything else, on the same cores
/// each barrier then costs a time slice (measured: five times slower). libgomp reads its setting once, when
/// it is loaded, so the program starts itself again with it. A user's own setting is kept.
void let_waiting_threads_sleep(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr || std::getenv("GOMP_SPINCOUNT") != nullptr) return;
  ::setenv("OMP_WAIT_POLICY", "passive", 1);
  ::execv("/proc/self/exe", argv);  // comes back only where /proc is missing: then it is merely slower
}

}  // namespace

int main(int argc, char** argv) {
  let_waiting_threads_sleep(argv);
  branchsae::apps::Application application;
  branchsae::apps::add_all_commands(application);
  return application.run(argc, argv);
}
