#pragma once
/// The k-sparse autoencoder on the CPU.
#include <memory>

#include "engine/sae.h"

namespace branchsae::cpu {

/// threads: OpenMP threads of every call; 0: all processors. Kernels are chosen by the processor and by
/// BRANCHSAE_SIMD (cpu/sae/isa.h). Results are the same bytes for any number of threads at one instruction
/// set. Throws InputError for a bad spec, DeviceError when memory cannot be had.
std::unique_ptr<SaeExecutor> make_cpu_sae(const SaeSpec& spec, int threads);

/// How tiles of tokens were encoded since the last call. For benchmarks.
struct EncodeCounts {
  /// Tiles; those done again in fp32 count there, as dense or sparse.
  int64_t dense = 0, sparse = 0, bf16 = 0, fixed = 0;
  int64_t scored_tokens = 0;  ///< tokens of which every latent was scored exactly
};

/// Throws InputError when `executor` was not made by make_cpu_sae.
EncodeCounts take_encode_counts(SaeExecutor& executor);

}  // namespace branchsae::cpu
