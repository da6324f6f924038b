#pragma once
/// The instruction sets of the CPU's autoencoder.
#include <cstdlib>
#include <string>
#include <vector>

#include "cpu/sae/isa.h"
#include "engine/stream.h"

namespace branchsae::test {

/// Streams of the CPU run at once.
class NoStream final : public Stream {
 public:
  void synchronize() override {}
};

/// Sets BRANCHSAE_SIMD while it lives.
class SimdScope {
 public:
  explicit SimdScope(cpu::Isa isa) { setenv("BRANCHSAE_SIMD", std::string(cpu::isa_name(isa)).c_str(), 1); }
  ~SimdScope() { unsetenv("BRANCHSAE_SIMD"); }
  SimdScope(const SimdScope&) = delete;
  SimdScope& operator=(const SimdScope&) = delete;
};

/// The levels that this build and processor have.
inline std::vector<cpu::Isa> isa_levels() {
  std::vector<cpu::Isa> levels;
  for (const cpu::Isa isa : cpu::kIsaLevels) {
    const SimdScope scope(isa);
    if (cpu::choose_isa() == isa) levels.push_back(isa);
  }
  return levels;
}

}  // namespace branchsae::test
