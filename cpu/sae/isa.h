#pragma once
/// Which instruction set the autoencoder's kernels use.
#include <string_view>

namespace branchsae::cpu {

/// Levels of kernels in this build; kSimd128 is NEON on 64-bit ARM (x86 goes from kScalar to kAvx2).
enum class Isa { kScalar, kSimd128, kAvx2, kAvx512, kAvx512Bf16 };
inline constexpr Isa kIsaLevels[] = {Isa::kScalar, Isa::kSimd128, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Bf16};

/// "scalar", "simd128", "avx2", "avx512", "avx512bf16".
std::string_view isa_name(Isa isa);

/// The best level that this build and this processor have.
Isa best_isa();

/// best_isa(), limited by the environment variable BRANCHSAE_SIMD=scalar|avx2|avx512|avx512bf16 (read at
/// every call). A level that the processor lacks gives the best one below it. Throws InputError for another
/// value.
Isa choose_isa();

}  // namespace branchsae::cpu
