#include "cpu/sae/kernel_tables.h"
namespace branchsae::cpu {
const SaeKernels* vector_kernels(Isa) {
  return nullptr;
}
}  // namespace branchsae::cpu
