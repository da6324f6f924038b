#include "cpu/sae/isa.h"

#include <fmt/format.h>

#include <cstdlib>
#include <string>

#include "cpu/sae/kernel_tables.h"
#include "engine/error.h"

namespace branchsae::cpu {
namespace {

Isa best_isa_up_to(Isa limit) {
  for (int level = static_cast<int>(limit); level > static_cast<int>(Isa::kScalar); --level) {
    if (vector_kernels(static_cast<Isa>(level)) != nullptr) return static_cast<Isa>(level);
  }
  return Isa::kScalar;
}

}  // namespace

std::string_view isa_name(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return "scalar";
    case Isa::kSimd128:
      return "simd128";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAvx512Bf16:
      return "avx512bf16";
  }
  return "unknown";
}

Isa best_isa() {
  return best_isa_up_to(Isa::kAvx512Bf16);
}

Isa choose_isa() {
  const char* text = std::getenv("BRANCHSAE_SIMD");
  if (text == nullptr || *text == '\0') return best_isa();
  for (const Isa isa : kIsaLevels) {
    if (isa_name(isa) == text) return best_isa_up_to(isa);
  }
  throw InputError(
      fmt::format("BRANCHSAE_SIMD is \"{}\"; it must be scalar, simd128, avx2, avx512 or avx512bf16", text));
}

const SaeKernels& sae_kernels(Isa isa) {
  const Isa level = best_isa_up_to(isa);
  return level == Isa::kScalar ? plain_kernels() : *vector_kernels(level);
}

}  // namespace branchsae::cpu
