#include "cpu/waiting.h"

#include <unistd.h>

#include <cstdlib>

namespace branchsae::cpu {

void wait_briefly(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr || std::getenv("GOMP_SPINCOUNT") != nullptr) return;
  ::setenv("GOMP_SPINCOUNT", "10000", 1);
  ::execv("/proc/self/exe", argv);  // comes back only when it fails
}

}  // namespace branchsae::cpu
