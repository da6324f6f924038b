#include <cstdlib>  // defines __GLIBC__ where it applies
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "apps/application.h"
#include "apps/commands/commands.h"
#include "cpu/waiting.h"

namespace {

/// Large blocks go back to the system when they are freed. Left alone, glibc raises the limit as blocks are
/// freed, and what loading a model took for a moment (30 MiB) stays for the whole job.
void return_large_blocks() {
#ifdef __GLIBC__
  constexpr int kLargeBytes = 128 << 10;
  mallopt(M_MMAP_THRESHOLD, kLargeBytes);
  mallopt(M_TRIM_THRESHOLD, kLargeBytes);
#endif
}

}  // namespace

int main(int argc, char** argv) {
  branchsae::cpu::wait_briefly(argv);
  return_large_blocks();
  branchsae::apps::Application application;
  branchsae::apps::add_all_commands(application);
  return application.run(argc, argv);
}
