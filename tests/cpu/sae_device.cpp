// The shared cases of autoencoders on the CPU: every instruction set is a level.
#include "tests/sae_cases/sae_device.h"

#include <doctest/doctest.h>

#include <map>

#include "tests/cpu/sae_levels.h"

namespace branchsae::test {

Backend& sae_backend(int threads) {
  static std::map<int, std::unique_ptr<Backend>> backends;
  std::unique_ptr<Backend>& backend = backends[threads];
  if (backend == nullptr) backend = find_backend("cpu")->make(0, threads);
  return *backend;
}

void for_each_level(const std::function<void()>& body) {
  for (const cpu::Isa isa : isa_levels()) {
    CAPTURE(cpu::isa_name(isa));
    const SimdScope simd(isa);
    body();
  }
}

void relax_checks() {}

bool slow_device() {
  return false;
}

}  // namespace branchsae::test
