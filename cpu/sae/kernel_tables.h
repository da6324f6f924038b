#pragma once
/// The tables behind sae_kernels().
#include "cpu/sae/kernels.h"

namespace branchsae::cpu {

const SaeKernels& plain_kernels();
/// nullptr when the build or the processor lacks the level.
const SaeKernels* vector_kernels(Isa isa);

}  // namespace branchsae::cpu
