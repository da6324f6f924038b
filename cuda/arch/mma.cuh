#pragma once
// Tensor-core products of one warp (mma.sync, sm_80) and the loads that feed them.
// Fragments as the PTX ISA lays them out, with g = lane / 4 and t = lane % 4:
//   m16n8k16 bf16  A[4]: rows g, g + 8, g, g + 8; columns 2t.. of the lower 8, lower, upper, upper (two bf16
//   a word)
//                  B[2]: k = 2t.. of the lower and upper 8; column g
//   m16n8k8 tf32   A[4]: rows g, g + 8, g, g + 8; columns t, t, t + 4, t + 4;  B[2]: k = t, t + 4; column g
//   accumulators   C[4]: row g columns 2t, 2t + 1; row g + 8 columns 2t, 2t + 1
#include "cuda/arch/smem.cuh"

namespace branchsae::cuda {

/// c += a b; bf16 in, float sums.
BRANCHSAE_DEVICE void mma_bf16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// c += a b; words hold floats rounded by to_tf32().
BRANCHSAE_DEVICE void mma_tf32(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// Four 8x8 matrices of 16-bit elements: lane l gives the address of row l % 8 of matrix l / 8 (16 bytes,
/// aligned) as element `at` of `from`; register i of a lane gets elements 2t, 2t + 1 of row g of matrix i.
template <class T>
BRANCHSAE_DEVICE void load_matrices_4(uint32_t (&r)[4], Smem<T> from, int at) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(from.address(at))
               : "memory");
}
/// Two matrices; lanes 0..15 give the addresses, the others' must be valid too.
template <class T>
BRANCHSAE_DEVICE void load_matrices_2(uint32_t (&r)[2], Smem<T> from, int at) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(from.address(at))
               : "memory");
}

}  // namespace branchsae::cuda
