#pragma once
/// The k-sparse autoencoder on the CPU.
#include <memory>

#include "engine/sae.h"

namespace branchsae::cpu {

/// threads: OpenMP threads of every call; 0: all processors. Kernels are chosen by the processor and by
/// BRANCHSAE_SIMD (cpu/sae/isa.h). Results are the same bytes for any number of threads at one instruction
/// set. Throws InputError for a bad spec, DeviceError when memory cannot be had.
std::unique_ptr<SaeExecutor> make_cpu_sae(const SaeSpec& spec, int threads);

}  // namespace branchsae::cpu
